"""``python -m gateway.dataplane``: the process of one worker; started by the supervisor, never by hand."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys

import uvloop
from setproctitle import setproctitle

from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.worker import ControlProtocol, Worker


def main() -> int:
    """Serve until drained; every descriptor was opened by the supervisor."""
    parser = argparse.ArgumentParser(prog="python -m gateway.dataplane", description=__doc__)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--limits-fd", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, action="append", required=True)
    options = parser.parse_args()
    setproctitle(f"penstock gateway worker {options.index}")
    # The supervisor decides when a worker ends; a Ctrl-C in its terminal is not meant for the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = [socket.socket(fileno=fd) for fd in options.listen_fd]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(socket.socket(fileno=options.control_fd), listening, SharedLimits(options.limits_fd)))
    return 0


async def _serve(control: socket.socket, listening: list[socket.socket], limits: SharedLimits) -> None:
    loop = asyncio.get_running_loop()
    worker = Worker(loop, listening, limits)
    await loop.create_unix_connection(lambda: ControlProtocol(worker), sock=control)
    await worker.done


if __name__ == "__main__":
    sys.exit(main())
