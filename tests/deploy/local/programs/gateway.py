"""A gateway without a data plane: publishes what it is told to, says that it is ready, and leaves when asked.

Its policy directory holds ``desired-pods.json``, which it publishes as it is; a file ``refused`` there makes it refuse.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import FrameType

import msgspec

from gateway.control.desired_pods import FILE_NAME as DESIRED_PODS
from gateway.control.runtime_file import FILE_NAME as RUNTIME_FILE
from gateway.control.runtime_file import RunningMesh
from gateway.control.state_dir import write_private


class Ready(BaseHTTPRequestHandler):
    """Answers 200 to whatever is asked."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def say(event: str) -> None:
    """Write an event as the gateway does."""
    print(f"gateway: {event}", file=sys.stderr, flush=True)


def leave(*_: int | FrameType | None) -> None:
    """End as after a drain."""
    say("drained")
    os._exit(0)


def main() -> None:
    """Run until told to stop, or until whoever started it is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--policies", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--lifeline-fd", type=int)
    options, _ = parser.parse_known_args()
    if (options.policies / "refused").exists():
        say("policy refused: routes/digits.yaml:4:9: unknown key. Remove it.")
        sys.exit(1)
    server = HTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.signal(signal.SIGTERM, leave)
    shutil.copy(options.policies / DESIRED_PODS, options.state / DESIRED_PODS)
    url = f"http://127.0.0.1:{server.server_port}"
    published = RunningMesh(os.getpid(), url, "", "token", str(options.state), "")
    write_private(options.state / RUNTIME_FILE, msgspec.json.encode(published))
    say(f"up (pid {os.getpid()})")
    os.read(options.lifeline_fd, 1)
    leave()


if __name__ == "__main__":
    main()
