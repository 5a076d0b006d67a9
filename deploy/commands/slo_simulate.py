"""``penstock slo simulate``: says when each alert of an objective would begin and end, or would have of late."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from deploy.commands.running_mesh import NotReachable, add_arguments, find, read
from deploy.commands.table import table
from gateway.control.slo_words import budget_text, length
from policies.errors import PolicyRefused
from policies.load import load_directory
from policies.snapshot.slos import Objective
from policies.units import duration_text, percent_text, rate_text
from telemetry.slo.asked import NO_THRESHOLD, THRESHOLDS, CannotBe, changed, fault_of, never, past_of
from telemetry.slo.simulate import (
    COARSE_S,
    Course,
    Fault,
    Interval,
    Replay,
    Simulation,
    is_foretold,
    replay,
    simulate,
)
from telemetry.slo.told import ToldObjective, ToldSlots, objective_of, slots_of, unknown

SUMMARY = "Say when each alert of an objective would begin and end if requests were bad for a while."
POLICIES = "policies/demo"
RATE = "100/s"
_NAMED = 20
# No options: who tries them is told why.
_THRESHOLDS = tuple(f"--{name.replace('_', '-')}" for name in THRESHOLDS)


def run(arguments: Sequence[str]) -> int:
    """Print what would fire; 1 for refused policy files or a mesh that does not answer, 2 for what cannot be."""
    parser = argparse.ArgumentParser(
        prog="penstock slo simulate",
        description=SUMMARY,
        epilog=f"Without a mesh that runs; but with --last, what it has counted is judged anew. {NO_THRESHOLD}",
    )
    parser.add_argument("name", metavar="NAME", help="an objective of slos.yaml")
    parser.add_argument("--bad-share", metavar="SHARE", help="share of requests that are bad: 2%%")
    parser.add_argument("--for", metavar="TIME", dest="length", help="for how long: 1h")
    parser.add_argument("--rate", metavar="RATE", help=f"requests, good and bad: {RATE} when left out")
    parser.add_argument("--last", metavar="TIME", help="judge this much of what the running mesh has counted: 6h")
    parser.add_argument("--model", metavar="MODEL", default="", help="of which model, with --last; else its first")
    parser.add_argument("--target", metavar="SHARE", default="", help="judge by this target instead: 99.5%%")
    parser.add_argument(
        "--factor", metavar="ALERT=X", action="append", default=[], help='or by this factor: "page fast=10x"'
    )
    parser.add_argument("--policies", metavar="DIR", default=POLICIES, help=f"policy files; {POLICIES} when left out")
    add_arguments(parser)
    if any(argument.partition("=")[0] in _THRESHOLDS for argument in arguments):
        parser.error(NO_THRESHOLD)
    options = parser.parse_args(arguments)
    of_a_fault = (options.bad_share, options.length, options.rate)
    if any(of_a_fault) if options.last else not (options.bad_share and options.length):
        parser.error("write --bad-share and --for, or --last: the past is judged as it was counted")
    try:
        return _replay(options) if options.last else _simulate(options)
    except CannotBe as error:
        parser.error(_as_option(error))
    except PolicyRefused as refused:
        print("\n".join(map(str, refused.errors)), file=sys.stderr)
    except (NotReachable, NoObjective) as error:
        print(f"penstock slo simulate: {error}", file=sys.stderr)
    return 1


class NoObjective(Exception):
    """There is none of this name; the message names those that there are."""


def _simulate(options: argparse.Namespace) -> int:
    fault = fault_of(options.bad_share, options.length, options.rate or RATE)
    objectives = load_directory(options.policies).objectives
    if options.name not in objectives:
        names = ", ".join(objectives) or "none"
        raise NoObjective(f"no objective {options.name} in {options.policies}: {names}")
    objective = changed(objectives[options.name], options.target, _factors(options.factor))
    found = simulate(objective, fault)
    print(json.dumps(msgspec.to_builtins(found)) if options.json else describe(objective, fault, found))
    return 0


def _replay(options: argparse.Namespace) -> int:
    length_s = past_of(options.last)
    target = find(options, os.environ, Path.home())
    told = _told(read(target, "/admin/slo", _Told).slos, options.name, options.model)
    objective = changed(objective_of(told), options.target, _factors(options.factor))
    query = urlencode({"slo": told.name, "model": told.model})
    slots = read(target, f"/admin/slo/slots?{query}", ToldSlots)
    to_s = int(slots.at_s // COARSE_S * COARSE_S)
    found = replay(objective, slots_of(slots), to_s - length_s, to_s)
    gone = unknown(slots, to_s - length_s, to_s)
    if options.json:
        print(json.dumps(msgspec.to_builtins(found) | {"from_s": to_s - length_s, "unknown": gone}))
    else:
        print(describe_replay(objective, to_s - length_s, to_s, found, sum(end - begin for begin, end in gone)))
    return 0


class _Told(msgspec.Struct, frozen=True):
    slos: tuple[ToldObjective, ...]


def _told(slos: Sequence[ToldObjective], name: str, model: str) -> ToldObjective:
    for one in slos:
        if one.name == name and model in ("", one.model):
            return one
    names = ", ".join(f"{one.name} of {one.model}" for one in slos[:_NAMED]) or "none"
    raise NoObjective(f"no objective {name}{f' of {model}' if model else ''} in the running mesh: {names}")


def describe_replay(objective: Objective, from_s: int, to_s: int, found: Replay, unknown_s: float) -> str:
    """Return what would have fired, for people."""
    promise = f"{percent_text(objective.target)} good in {duration_text(objective.period_s)}"
    judged = f"judged from {_date(from_s)} to {_date(to_s)} UTC"
    rows = [row for course in found.courses for row in _past_rows(course, from_s, found.every_s)]
    gone = f"For {length(unknown_s)} of this time nobody counted." if unknown_s else ""
    parts = [
        f"{objective.name}: {promise}; {judged}",
        table(("ALERT", "SEVERITY", "WINDOWS", "BEGAN (UTC)", "ENDED (UTC)"), rows),
        _left(found.remaining_ratio),
        gone,
        "\n".join(never(objective).values()),
    ]
    return "\n\n".join(filter(None, parts))


def _left(remaining_ratio: float | None) -> str:
    """Write what is left of the budget at the end; "" without events."""
    if remaining_ratio is None:
        return ""
    if remaining_ratio < 0.0:
        spent = budget_text(remaining_ratio)
        return f"{spent[0].upper()}{spent[1:]}."
    return f"{remaining_ratio:.1%} of the error budget is left.".replace("%", " %")


def _past_rows(course: Course, from_s: int, every_s: int) -> list[tuple[str | None, ...]]:
    same = _same(course)
    if not course.fires:
        return [(*same, "never", None)]
    return [(*same, _began(from_s, one.begins_s, every_s), _ended(from_s, one.ends_s)) for one in course.fires]


def _began(from_s: int, begins_s: int, every_s: int) -> str:
    """Write when an alert began; of one that fired as soon as it was judged nobody has looked at what was before."""
    return f"{_date(from_s + begins_s)}{' or before' if begins_s <= every_s else ''}"


def _ended(from_s: int, ends_s: int | None) -> str:
    return "still fires" if ends_s is None else _date(from_s + ends_s)


def _date(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _as_option(error: CannotBe) -> str:
    return f"--{error.field.replace('_', '-')} {error.given}: {error.mend}"


def _factors(given: Sequence[str]) -> dict[str, str]:
    """Read factors by the names of alerts; one without a factor has "" for it, which is refused."""
    return {name.strip(): above.strip() for name, _, above in (one.partition("=") for one in given)}


def describe(objective: Objective, fault: Fault, found: Simulation) -> str:
    """Return what would fire, for people."""
    promise = f"{percent_text(objective.target)} good in {duration_text(objective.period_s)}"
    what = f"{percent_text(float(fault.bad_share))} of {rate_text(float(fault.rate_per_s))} bad for"
    head = f"{objective.name}: {promise}; {what} {duration_text(float(fault.length_s))}, after a past without any"
    cost = f"It takes {found.cost:.1%} of the error budget.".replace("%", " %")
    rows = [row for course in found.courses for row in _rows(course)]
    held_back = "\n".join(
        f"{course.alert.name} is held back at first, {course.held_back}" for course in found.courses if course.held_back
    )
    never_fire = "\n".join(never(objective).values())
    courses = table(("ALERT", "SEVERITY", "WINDOWS", "BEGINS AFTER", "ENDS AFTER"), rows)
    parts = [head, courses, cost, held_back, never_fire]
    return "\n\n".join(filter(None, parts))


def _rows(course: Course) -> list[tuple[str | None, ...]]:
    same = _same(course)
    if not course.fires:
        return [(*same, "never", None)]
    return [(*same, clock_text(one.begins_s), _end(course, one)) for one in course.fires]


def _same(course: Course) -> tuple[str, str, str]:
    alert = course.alert
    return alert.name, alert.severity, f"{duration_text(alert.long_s)}, {duration_text(alert.short_s)}"


def _end(course: Course, interval: Interval) -> str:
    if interval.ends_s is not None:
        return clock_text(interval.ends_s)
    return "as the period forgets it" if is_foretold(course.alert) else "later"


def clock_text(length_s: int) -> str:
    """Write a length of time to the second: "43:20", "1:05:00", "3d 00:10:00"."""
    minutes, seconds = divmod(length_s, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours:02}:{minutes:02}:{seconds:02}"
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
