"""``penstock log``: the level of the running mesh's logs, and another one for a while."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.commands.running_mesh import NotReachable, Target, add_arguments, ask, change, decoded, find
from deploy.commands.table import table
from gateway.control.log_reports import LogLevelReport
from policies import units
from policies.errors import advice

_PATH = "/admin/log-level"
_LEVELS = ("debug", "info", "warning", "error", "usual")
_SHORTEST_S, _USUAL_FOR_S, _LONGEST_S = 1.0, 600.0, 86_400.0


def run(arguments: Sequence[str]) -> int:
    """Show or change the level; 1 when the mesh refuses or cannot be asked."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.level is None and (options.for_s is not None or options.only or options.reason):
        reader.error("say the level: --for, --only and --reason are of a change")
    try:
        return _level(options, find(options, os.environ, Path.home()))
    except NotReachable as error:
        print(f"penstock log: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """Return what reads the arguments."""
    whole = argparse.ArgumentParser(prog="penstock log", description="Show or change the level of the mesh's logs.")
    commands = whole.add_subparsers(dest="what", required=True, metavar="level")
    level = commands.add_parser("level", help="show the level; or change it for a while")
    level.add_argument("level", nargs="?", choices=_LEVELS, help="left out: show it; usual: take a change back")
    level.add_argument("--for", dest="for_s", type=_duration_s, metavar="TIME", help="30s, 10m, 2h ... 24h; 10m")
    level.add_argument(
        "--only", default="", metavar="PART", help="gateway, pods, sidecars, hub or a model; left out, all of the mesh"
    )
    level.add_argument("--reason", default="", metavar="TEXT", help="why, for the audit log")
    add_arguments(level)
    return whole


def _duration_s(text: str) -> float:
    try:
        length_s = units.duration_s(text)
    except units.UnitError as error:
        raise argparse.ArgumentTypeError(advice(error.problem, error.fix)) from error
    if not _SHORTEST_S <= length_s <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text}: write 1s to 24h")
    return length_s


def _level(options: argparse.Namespace, target: Target) -> int:
    if options.level is None:
        answer = ask(target, _PATH)
    else:
        reason = options.reason or f"penstock log level {options.level}"
        for_s = _USUAL_FOR_S if options.for_s is None else options.for_s
        asked = {"level": options.level, "of": options.only, "for_s": for_s, "reason": reason}
        answer = change(target, "POST", _PATH, asked)
    report = decoded(target, _PATH, answer, LogLevelReport)
    print(answer.decode() if options.json else describe(report))
    return 0


def describe(report: LogLevelReport) -> str:
    """Return the level for people."""
    usual = f"logs are of level {report.level}"
    if not report.changed:
        return usual
    rows = [(one.of, one.level, f"{one.until[:19].replace('T', ' ')}Z") for one in report.changed]
    return f"{usual}, but for a while\n\n{table(('OF', 'LEVEL', 'UNTIL'), rows)}"
