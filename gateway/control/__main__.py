"""``python -m gateway.control``: reads the command line and runs the supervisor."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from setproctitle import setproctitle

from gateway.control.config import SupervisorConfig
from gateway.control.events import say
from gateway.control.listeners import ListenRefused
from gateway.control.policy_keeper import NoPolicy
from gateway.control.runtime_file import runtime_path
from gateway.control.state_dir import StateRefused
from gateway.control.supervisor import supervise
from telemetry.logs.libraries import take_over
from telemetry.logs.line import Facts, error
from telemetry.logs.log import LOG, SETTINGS_VARIABLE
from telemetry.logs.settings import FILE_NAME as LOG_SETTINGS

_MOST_WORKERS = 256
# A few for each worker and pod, and MOST_CONNECTIONS for each listener of its own.
_DESCRIPTORS = 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until drained; 1 when the gateway cannot start."""
    config = read_config(arguments)
    setproctitle("penstock gateway supervisor")
    # Its workers inherit it.
    os.environ[SETTINGS_VARIABLE] = str(config.state.absolute() / LOG_SETTINGS)
    LOG.begin(Facts(process="gateway", role="supervisor"))
    take_over(LOG, "gateway")
    raise_descriptor_limit()
    try:
        asyncio.run(supervise(config, say))
    except (NoPolicy, ListenRefused, StateRefused) as refused:
        say(error(f"cannot start: {refused}", "gateway.refused"))
        return 1
    return 0


def raise_descriptor_limit() -> None:
    """Take as many descriptors as the system gives and we can use, and never fewer than we have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def read_config(arguments: Sequence[str] | None) -> SupervisorConfig:
    """Read the command line; a mistake in it exits with status 2."""
    options = _parser().parse_args(arguments)
    return SupervisorConfig(
        policies=options.policies.absolute(),
        state=options.state,
        workers=options.workers,
        runtime_file=runtime_path(os.environ, Path.home()),
        local_key_sha256=options.local_key_sha256,
        lifeline_fd=options.lifeline_fd,
        records=options.records,
        drain_delay_s=options.drain_delay_s,
        drain_within_s=options.drain_within_s,
        audit_checkpoints=options.audit_checkpoints,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock gateway", description="Runs the gateway: supervisor and workers.")
    parser.add_argument("--policies", type=Path, required=True, metavar="DIR", help="the policy directory")
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="where this gateway keeps its state")
    workers = max(1, len(os.sched_getaffinity(0)))
    parser.add_argument("--workers", type=_workers, default=workers, metavar="N", help="default: one per core")
    parser.add_argument("--local-key-sha256", type=_digest, metavar="HEX", help="a key that is added")
    parser.add_argument("--lifeline-fd", type=int, metavar="FD", help="drain when this pipe ends")
    parser.add_argument(
        "--records", default="", metavar="PATH", help="the sidecar's socket; without, nothing is recorded"
    )
    parser.add_argument("--drain-delay-s", type=_seconds, default=0.0, metavar="S", help="serve on while not ready")
    parser.add_argument("--drain-within-s", type=_seconds, default=30.0, metavar="S", help="then cut off what runs")
    parser.add_argument(
        "--audit-checkpoints", type=Path, metavar="FILE", help="copy checkpoints of the audit log here too"
    )
    return parser


def _workers(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"write a number from 1 to {_MOST_WORKERS}")
    return int(text)


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise argparse.ArgumentTypeError("write the key's SHA-256 as 64 lower-case hexadecimal digits")
    return text


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise argparse.ArgumentTypeError("write seconds as a plain number, such as 2 or 0.5")
    return float(text)


if __name__ == "__main__":
    sys.exit(main())
