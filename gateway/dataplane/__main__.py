"""``python -m gateway.dataplane``: the process of one worker; started by the supervisor, never by hand."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import uvloop
from setproctitle import setproctitle

from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.gateway import Share
from gateway.dataplane.rests import Rests
from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.tls import Doors
from gateway.dataplane.worker import ControlProtocol, Worker
from telemetry.conventions import GATEWAY_SERVICE
from telemetry.logs.libraries import take_over
from telemetry.logs.line import Facts
from telemetry.logs.log import LOG
from telemetry.record import Recorder
from telemetry.records import Source

# Each may need a second descriptor, for its connection to a pod.
MAX_CONNECTIONS = 10_000
SPARE_DESCRIPTORS = 64


def main() -> int:
    """Serve until drained; every descriptor was opened by the supervisor."""
    parser = argparse.ArgumentParser(prog="python -m gateway.dataplane", description=__doc__)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--worker-count", type=int, default=1)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--limits-fd", type=int, required=True)
    parser.add_argument("--listen-fd", type=int, action="append", default=[], help="a listening socket; plain HTTP")
    parser.add_argument("--tls-fd", type=int, action="append", default=[], help="one whose certificate is told")
    parser.add_argument("--grpc-fd", type=int, action="append", default=[], help="one of both where gRPC is spoken")
    parser.add_argument("--package", default="", help="version of Penstock, as spans tell it")
    parser.add_argument("--records", default="", help="path of the sidecar's socket; nothing is recorded without one")
    parser.add_argument("--decisions", type=Path, help="folder for decision records; none are kept without one")
    options = parser.parse_args()
    setproctitle(f"penstock gateway worker {options.index}")
    LOG.begin(Facts(process="gateway", role=f"worker {options.index}"))
    take_over(LOG, "gateway")
    # The supervisor decides when a worker ends; a Ctrl-C in its terminal is not meant for the worker.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A request makes some sixty objects that the collector counts and frees them itself; the usual threshold would have
    # it look after every twelfth request, and find nothing.
    gc.set_threshold(20_000, 20, 20)
    share = Share(options.worker_count, min(MAX_CONNECTIONS, (_raise_descriptor_limit() - SPARE_DESCRIPTORS) // 2))
    plain, secured = ([socket.socket(fileno=fd) for fd in fds] for fds in (options.listen_fd, options.tls_fd))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        control = socket.socket(fileno=options.control_fd)
        recorder = _recorder(options.records, options.index, options.package)
        decisions = DecisionLog(options.decisions, options.worker_count) if options.decisions else None
        worker = partial(
            Worker,
            doors=Doors(plain, secured, frozenset(options.grpc_fd)),
            limits=SharedLimits(options.limits_fd),
            share=share,
            rests=Rests(options.limits_fd, options.worker_count),
            recorder=recorder,
            decisions=decisions,
        )
        runner.run(_serve(control, worker))
    return 0


def _recorder(path: str, index: int, package: str) -> Recorder | None:
    if not path:
        return None
    return Recorder(path, Source(GATEWAY_SERVICE, f"worker {index}", os.getpid(), package=package))


def _raise_descriptor_limit() -> int:
    """Take as many descriptors as the system gives and we can use; return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_CONNECTIONS * 2 + SPARE_DESCRIPTORS
    limit = most if hard == resource.RLIM_INFINITY else min(hard, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


async def _serve(control: socket.socket, make_worker: Callable[[asyncio.AbstractEventLoop], Worker]) -> None:
    loop = asyncio.get_running_loop()
    worker = make_worker(loop)
    await loop.create_unix_connection(lambda: ControlProtocol(worker), sock=control)
    await worker.done


if __name__ == "__main__":
    sys.exit(main())
