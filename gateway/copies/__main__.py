"""``python -m gateway.copies``: the process that copies are dealt with in; started by the supervisor, never by hand."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import uvloop
from setproctitle import setproctitle

from gateway.copies.process import ControlProtocol, CopiesProcess
from telemetry.conventions import GATEWAY_SERVICE
from telemetry.logs.libraries import take_over
from telemetry.logs.line import Facts
from telemetry.logs.log import LOG
from telemetry.record import Recorder
from telemetry.records import Source

TITLE = "penstock gateway copies"
# What callers wait for goes first.
_NICENESS = 10


def main() -> int:
    """Serve until drained, or until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="python -m gateway.copies", description=__doc__)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--package", default="", help="version of Penstock, as spans tell it")
    parser.add_argument("--records", default="", help="path of the sidecar's socket; nothing is recorded without one")
    options = parser.parse_args()
    setproctitle(TITLE)
    LOG.begin(Facts(process="gateway", role="copies"))
    take_over(LOG, "gateway")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C in the supervisor's terminal is not meant for it
    with suppress(OSError):
        os.nice(_NICENESS)
    recorder = None
    if options.records:
        recorder = Recorder(options.records, Source(GATEWAY_SERVICE, "copies", os.getpid(), package=options.package))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(socket.socket(fileno=options.control_fd), options.state, recorder))
    return 0


async def _serve(control: socket.socket, state: Path, recorder: Recorder | None) -> None:
    loop = asyncio.get_running_loop()
    process = CopiesProcess(loop, state, recorder)
    await loop.create_unix_connection(lambda: ControlProtocol(process), sock=control)
    await process.done


if __name__ == "__main__":
    sys.exit(main())
