"""``python -m tests.benchmarks [WHAT] [--quick]``: figures of this machine, not judged."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from types import FrameType

from tests.benchmarks import (
    decide,
    decision_log,
    gateway,
    hop,
    plan,
    pod,
    recorder,
    recorder_calls,
    reloads,
    shadow,
    sidecar,
    sidecars_away,
)
from tests.benchmarks.cores import Cores
from tests.benchmarks.processes import NotStarted
from tests.benchmarks.report import describe_run

WHAT = ("gateway", "hop", "pod", "recorder", "decide", "plan", "reloads", "shadow", "sidecar", "sidecars-away", "all")


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=WHAT, default="all")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter slices: a look, not a measurement")
    arguments = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    say(describe_run())
    try:
        is_whole = run(arguments.what, is_quick=arguments.quick)
    except NotStarted as reason:
        say(f"did not start: {reason}")
        is_whole = False
    return 0 if is_whole else 1


def run(what: str, *, is_quick: bool) -> bool:
    """Run one benchmark or all; False when something that is here did not start."""
    is_whole = True
    cores = Cores.choose(os.sched_getaffinity(0))
    if what in ("gateway", "all"):
        say("")
        is_whole = gateway.run(gateway.QUICK if is_quick else gateway.FULL, cores, say)
    if what in ("hop", "all"):
        say("")
        hop.run(hop.QUICK if is_quick else hop.FULL, say)
    if what in ("pod", "all"):
        say("")
        pod.run(pod.QUICK if is_quick else pod.FULL, say)
    if what in ("recorder", "all"):
        say("")
        recorder_calls.run(20 if is_quick else 200, cores, say)
        is_whole = recorder.run(recorder.QUICK if is_quick else recorder.FULL, cores, say) and is_whole
    if what in ("decide", "all"):
        say("")
        decide.run(decide.QUICK if is_quick else decide.FULL, say)
        decision_log.run(decision_log.QUICK if is_quick else decision_log.FULL, say)
    if what in ("plan", "all"):
        say("")
        plan.run(plan.QUICK if is_quick else plan.FULL, say)
    if what in ("reloads", "all"):
        say("")
        is_whole = reloads.run(reloads.QUICK if is_quick else reloads.FULL, cores, say) and is_whole
    if what in ("shadow", "all"):
        say("")
        is_whole = shadow.run(shadow.QUICK if is_quick else shadow.FULL, say) and is_whole
    if what in ("sidecar", "all"):
        say("")
        sidecar.run(sidecar.QUICK if is_quick else sidecar.FULL, cores, say)
    if what in ("sidecars-away", "all"):
        say("")
        is_whole = sidecars_away.run(sidecars_away.QUICK if is_quick else sidecars_away.FULL, say) and is_whole
    return is_whole


def leave(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that everything started is ended too."""
    sys.exit(128 + number)


def say(line: str) -> None:
    """Print at once, so that a reader of a pipe sees progress."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
