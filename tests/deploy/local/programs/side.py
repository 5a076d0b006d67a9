"""A sidecar or a hub without telemetry: says its process id and its arguments, and leaves when asked."""

from __future__ import annotations

import argparse
import json
import os


def main() -> None:
    """Run until told to stop, or until whoever started it is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lifeline-fd", type=int)
    options, others = parser.parse_known_args()
    print(f"runs as {os.getpid()} with {json.dumps(others)}", flush=True)
    os.read(options.lifeline_fd, 1)


if __name__ == "__main__":
    main()
