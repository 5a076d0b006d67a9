"""``python -m model_pod.engine --fd N``: the inference process, speaking frames on an inherited socket."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import sys
from contextlib import suppress

from model_pod.engine.shim import install_shim
from telemetry.logs.libraries import HandlersOwn
from telemetry.logs.line import Facts, Level
from telemetry.logs.log import LOG, Log

_PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> int:
    """Run until the server closes the socket, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m model_pod.engine", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="an inherited, connected stream socket")
    channel = socket.socket(fileno=parser.parse_args().fd)
    # Programs that a handler starts must not hold the socket open.
    channel.set_inheritable(False)
    # Ctrl-C reaches the whole group; the server decides when this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with_server()
    _send_prints_to_stderr()
    LOG.begin(Facts(process="pod", role="model"), usual="text", heeds=False)
    LOG.set_level(Level.DEBUG)  # whose lines these are decides, by the level of ``logging``
    _send_logging_to(LOG)
    _choose_thread_count()
    install_shim()
    # Imported only now: torch reads the thread count when it is imported, and the engine needs the shim.
    from model_pod.engine.failure_log import FAILURES
    from model_pod.engine.serve import serve

    FAILURES.begin()
    return serve(channel)


def _die_with_server() -> None:
    # A handler that is stuck in C code and keeps the interpreter to itself never hears that the stream has ended. The
    # signal comes when the thread ends that started this process: the server starts it in one of its pool's, which
    # live as long as the server does.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _send_prints_to_stderr() -> None:
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)


def _send_logging_to(log: Log) -> None:
    root = logging.getLogger()
    root.addHandler(HandlersOwn(log))
    root.setLevel(logging.INFO)


def _choose_thread_count() -> None:
    # One core is left to the server, which must parse and batch while the model computes.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) - 1)))


if __name__ == "__main__":
    code = main()
    for stream in (sys.stdout, sys.stderr):
        # The handler may have closed or replaced them.
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()
    # Threads and exit hooks of a handler must not keep the process: the server waits for it to end.
    os._exit(code)
