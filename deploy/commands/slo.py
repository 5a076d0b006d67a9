"""``penstock slo``: shows the running mesh's objectives, budgets, burn rates and alerts, or what would fire."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from deploy.commands import slo_export, slo_simulate
from deploy.commands.running_mesh import NotReachable, Target, add_arguments, ask, decoded, find
from deploy.commands.screens.live import Latest, live
from deploy.commands.screens.screen import clipped
from deploy.commands.screens.terminal import is_terminal
from deploy.commands.slo_text import ALL_HISTORY, LATEST_HISTORY, describe, describe_whole
from gateway.control.slo_reports import ObjectiveReport, SloReport

PATH = "/admin/slo"
WATCH_EVERY_S = 5.0
ALARM, MISTAKEN, NOT_ASKED = 1, 2, 3
_PAGES = ("page", "exhausted")
_PAGE_LINES = 10


class NoSuchObjective(NotReachable):
    """No objective has this name, or not for this model; policy may have had it a moment ago."""


def run(arguments: Sequence[str]) -> int:
    """Print the objectives; 0 when all is well, 1 when it is not (with ``--check``) or the mesh cannot be asked.

    With ``--check`` a mesh that cannot be asked is 3, so that a script can tell this from an alarm. An objective that
    is not there is a mistake in the arguments, 2.
    """
    if arguments[:1] == ["simulate"]:
        return slo_simulate.run(arguments[1:])
    if arguments[:1] == ["export"]:
        return slo_export.run(arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.watch and (options.check or options.json):
        parser.error("--watch is for people: leave it out with --check or --json")
    try:
        target = find(options, os.environ, Path.home())
        if options.watch:
            return _watch(target, options)
        answer = ask(target, PATH)
        report = decoded(target, PATH, answer, SloReport)
        shown = _wanted(report, options)
    except NotReachable as error:
        print(f"penstock slo: {error}", file=sys.stderr)
        if isinstance(error, NoSuchObjective):
            return MISTAKEN
        return NOT_ASKED if options.check else 1
    print(_json(answer, options) if options.json else _text(report, shown, options))
    return ALARM if options.check and any(_is_alarming(slo, options) for slo in shown) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock slo",
        description="Show objectives, budgets, burn rates, alerts; all there is of one that is named.",
        epilog="`penstock slo simulate NAME --bad-share 2% --for 1h` says what would fire; "
        "`penstock slo export --help` writes rules, dashboards and more for other tools. "
        "With --check it exits with 0 when all is well, 1 when it is not, 3 when the mesh cannot be asked.",
    )
    add_arguments(parser)
    parser.add_argument("name", nargs="?", metavar="NAME", help="one objective, with every window, alert and version")
    parser.add_argument("--model", metavar="MODEL", help="of one model alone")
    parser.add_argument(
        "--history", action="store_true", help="show every alert that is remembered, not only the latest"
    )
    parser.add_argument("--watch", action="store_true", help="show it again and again; q leaves")
    parser.add_argument("--check", action="store_true", help="exit with 1 while a page fires or a budget is exhausted")
    parser.add_argument("--tickets", action="store_true", help="with --check: while a ticket fires, too")
    return parser


def _wanted(report: SloReport, options: argparse.Namespace) -> list[ObjectiveReport]:
    """Return the objectives that were asked for.

    Raises:
        NoSuchObjective: there are none.
    """
    shown = [slo for slo in report.slos if options.name in (None, slo.name) and options.model in (None, slo.model)]
    if shown or (options.name is None and options.model is None):
        return shown
    names = ", ".join(dict.fromkeys(slo.name for slo in report.slos)) or "none"
    models = ", ".join(dict.fromkeys(slo.model for slo in report.slos)) or "none"
    raise NoSuchObjective(f"there is no such objective; objectives: {names}; of models: {models}")


def _json(answer: bytes, options: argparse.Namespace) -> str:
    """Return what the mesh told, as it told it, of the objectives that were asked for."""
    if options.name is None and options.model is None:
        return answer.decode()
    told = msgspec.json.decode(answer)
    told["slos"] = [slo for slo in told["slos"] if options.name in (None, slo["name"])]
    wanted = {slo["model"] for slo in told["slos"]} if options.model is None else {options.model}
    for kind in ("slos", "models"):
        told[kind] = [one for one in told[kind] if one["model"] in wanted]
    return msgspec.json.encode(told).decode()


def _text(report: SloReport, shown: Sequence[ObjectiveReport], options: argparse.Namespace) -> str:
    most = ALL_HISTORY if options.history else LATEST_HISTORY
    if options.name is not None:
        return describe_whole(report, shown, most)
    models = [one for one in report.models if options.model in (None, one.model)]
    return describe(SloReport(report.at, report.slot_s, models, list(shown)), most)


def _is_alarming(slo: ObjectiveReport, options: argparse.Namespace) -> bool:
    return slo.status in _PAGES or (options.tickets and any(alert.state == "firing" for alert in slo.alerts))


def _watch(target: Target, options: argparse.Namespace) -> int:
    """Show it until the reader leaves; where nobody looks it is printed again and again."""

    def look() -> str:
        report = decoded(target, PATH, ask(target, PATH), SloReport)
        return _text(report, _wanted(report, options), options)

    text = look()
    if is_terminal():
        live(look, WATCH_EVERY_S, 0, _scrolled, _drawn)
        return 0
    while True:
        print(text, flush=True)
        time.sleep(WATCH_EVERY_S)
        text = f"\n{look()}"


def _scrolled(first: int, key: str, seen: str | None) -> int | None:
    """Return the first line to show after a key; None when the reader leaves."""
    if key in ("q", "ctrl-c"):
        return None
    last = max(0, len((seen or "").splitlines()) - 1)
    steps = {"j": 1, "down": 1, "k": -1, "up": -1, "page-down": _PAGE_LINES, "page-up": -_PAGE_LINES}
    return max(0, min(last, first + {"home": -last, "end": last, **steps}.get(key, 0)))


def _drawn(latest: Latest[str], first: int, size: tuple[int, int]) -> list[str]:
    columns, rows = size
    lines = (latest.seen or "asking the mesh ...").splitlines()[first:]
    foot = latest.error or "q quit  j k scroll"
    return [*(clipped(line, columns) for line in lines[: max(0, rows - 1)]), clipped(foot, columns)]
