"""``penstock restart``: replaces the gateway's workers one after the other, and waits until that is done."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from deploy.commands.numbers import number
from deploy.commands.running_mesh import NotReachable, Target, add_arguments, change, decoded, find, read
from gateway.control.reports import RestartReport, StatusReport
from gateway.control.rolling_restart import FINISH_WITHIN_S

_PATH = "/admin/workers/restart"
_STATUS_PATH = "/admin/status"
LOOK_EVERY_S = 0.2
# For the starts of the successors, beside what each worker may take to finish.
_STARTS_WITHIN_S = 30.0
_WITHIN_AT_MOST_S = 86_400.0


def run(arguments: Sequence[str]) -> int:
    """Restart; 0 when it is done, 1 when the mesh refuses or cannot be asked, or it takes too long."""
    options = _parser().parse_args(arguments)
    try:
        return _restart(options, find(options, os.environ, Path.home()))
    except NotReachable as error:
        print(f"penstock restart: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock restart",
        description="Replace every worker of the gateway by a new one; no request is lost by it.",
    )
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for the audit log")
    parser.add_argument(
        "--within-s",
        type=_within_s,
        metavar="S",
        help=f"wait so long, if not {FINISH_WITHIN_S:g} s a worker and {_STARTS_WITHIN_S:g} s more; 0 does not wait",
    )
    add_arguments(parser)
    return parser


def _within_s(text: str) -> float:
    return number(text, 0.0, _WITHIN_AT_MOST_S, "seconds")


def _restart(options: argparse.Namespace, target: Target) -> int:
    answer = change(target, "POST", _PATH, {"reason": options.reason})
    begun = decoded(target, _PATH, answer, RestartReport)
    left = begun.workers_to_replace
    within_s = patience_s(left) if options.within_s is None else options.within_s
    if within_s > 0:
        left = wait_until_replaced(lambda: _left(target), within_s)
    if options.json:
        print(answer.decode())
    elif left:
        print(f"{left} of {begun.workers_to_replace} workers have yet to be replaced; `penstock status` tells")
    else:
        print(f"{begun.workers_to_replace} workers were replaced")
    return 1 if left and within_s > 0 else 0


def patience_s(worker_count: int) -> float:
    """Return how long the replacing of so many workers may take, one after the other."""
    return FINISH_WITHIN_S * worker_count + _STARTS_WITHIN_S


def wait_until_replaced(left: Callable[[], int], within_s: float) -> int:
    """Return how many workers are left when none is, or when that takes too long."""
    give_up_s = time.monotonic() + within_s
    while (count := left()) and time.monotonic() < give_up_s:
        time.sleep(LOOK_EVERY_S)
    return count


def _left(target: Target) -> int:
    return read(target, _STATUS_PATH, StatusReport).workers_to_replace
