"""A sidecar or a hub without telemetry: says its process id and its arguments, and leaves when asked.

The hub publishes that its pages are on port 7.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from deploy.local.hub import RunningHub


def main() -> None:
    """Run until told to stop, or until whoever started it is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lifeline-fd", type=int)
    options, others = parser.parse_known_args()
    if "--publish" in others:
        with suppress(OSError):
            path = Path(others[others.index("--publish") + 1])
            path.write_bytes(msgspec.json.encode(RunningHub(os.getpid(), "http://127.0.0.1:7")))
    print(f"runs as {os.getpid()} with {json.dumps(others)}", flush=True)
    os.read(options.lifeline_fd, 1)


if __name__ == "__main__":
    main()
