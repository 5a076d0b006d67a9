"""Decides what would fire: reads the query of a URL, simulates a fault or replays the past, and tells its course."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import msgspec
from msgspec import Struct

from policies.snapshot.slos import Objective
from policies.units import UnitError, duration_text, moment_unix_s
from telemetry.hub.query import TEXT_CHARACTERS, BadQuery
from telemetry.slo.alerts import Alert, windows
from telemetry.slo.asked import NO_THRESHOLD, THRESHOLDS, CannotBe, changed, fault_of, never, past_of
from telemetry.slo.budget import remaining_ratio
from telemetry.slo.burn_rate import burn_rate
from telemetry.slo.evaluate import Counted
from telemetry.slo.events import EventCount
from telemetry.slo.simulate import COARSE_S, Course, Fault, Replay, Traffic, replay, simulate
from telemetry.slo.told import ToldObjective, ToldSlots, objective_of, slots_of, unknown

Json = dict[str, Any]

KEYS = ("slo", "model", "bad_share", "for", "rate", "start", "target", "alert", "factor", "last")
# Longer faults are simulated by `penstock slo simulate`, which has a processor of its own.
LONGEST_S = 7 * 86_400
DEFAULT_SHARE, DEFAULT_LENGTH, DEFAULT_RATE, DEFAULT_LAST = "100%", "10m", "100/s", "6h"
# Of a curve: about as many as a page has room for.
_POINTS = 240
_MOMENT_LENGTH = len("2027-03-01T00:00")


class Asked(Struct, frozen=True):
    """What is to be simulated.

    Attributes:
        fault: None where the past is to be judged anew, of which ``last_s`` is the length.
        begins_s: when the fault is to begin, seconds since the epoch; None for any time.
        target, factors: what is tried instead of the policy's, as it was written; "" and none for the policy's own.
        given: the query without what is empty.
    """

    slo: str
    model: str
    given: dict[str, str]
    fault: Fault | None = None
    last_s: int = 0
    begins_s: float | None = None
    target: str = ""
    factors: dict[str, str] = {}


class NoObjective(Exception):
    """There is no such objective; the message is a sentence."""


def is_asked(query: Mapping[str, str]) -> bool:
    """Whether a query asks for a simulation, and not only for an objective to be chosen."""
    return any(query.get(key, "").strip() for key in ("bad_share", "for", "last"))


def parse(query: Mapping[str, str]) -> Asked:
    """Read the query of a URL; an empty value is the same as none.

    Raises:
        BadQuery: a name or a value is wrong; the sentence says what to write.
    """
    given = {key: value.strip() for key, value in query.items() if value.strip()}
    if given.keys() & set(THRESHOLDS):
        raise BadQuery(NO_THRESHOLD)
    strangers = sorted(given.keys() - set(KEYS))
    if strangers:
        raise BadQuery(f"{', '.join(strangers)[:64]} says nothing here: {', '.join(KEYS)} do.")
    if any(len(value) > TEXT_CHARACTERS for value in given.values()):
        raise BadQuery(f"A value has at most {TEXT_CHARACTERS} characters.")
    if "last" in given and given.keys() & {"bad_share", "for", "rate", "start"}:
        raise BadQuery("last judges the past anew, and bad_share, for, rate and start are of a fault: write either.")
    if ("alert" in given) != ("factor" in given):
        raise BadQuery("alert and factor go together: write which alert is to have which factor, or neither.")
    asked = Asked(
        given.get("slo", ""),
        given.get("model", ""),
        given,
        target=given.get("target", ""),
        factors={given["alert"]: given["factor"]} if "alert" in given else {},
    )
    try:
        if "last" in given:
            return msgspec.structs.replace(asked, last_s=past_of(given["last"]))
        fault = fault_of(*_fault_texts(given), LONGEST_S)
    except CannotBe as wrong:
        raise BadQuery(_sentence(wrong)) from None
    return msgspec.structs.replace(asked, fault=fault, begins_s=_start(given.get("start", "")))


def _fault_texts(given: Mapping[str, str]) -> tuple[str, str, str]:
    share, length = given.get("bad_share", DEFAULT_SHARE), given.get("for", DEFAULT_LENGTH)
    return share, length, given.get("rate", DEFAULT_RATE)


def _sentence(wrong: CannotBe) -> str:
    mend = wrong.mend[:1].lower() + wrong.mend[1:].rstrip(".")
    return f"{wrong.field} cannot be {wrong.given or 'empty'}: {mend}."


def _start(text: str) -> float | None:
    """Read a moment, UTC where it names no zone, as a browser's field for it does."""
    if not text:
        return None
    whole = f"{text}:00" if len(text) == _MOMENT_LENGTH else text
    try:
        return moment_unix_s(whole if whole[-1:] == "Z" or whole[-6:-5] in ("+", "-") else f"{whole}Z")
    except UnitError as wrong:
        raise BadQuery(f"start cannot be {text[:64]}: {wrong.problem}. {wrong.fix}") from None


def find(slos: Sequence[Json], slo: str, model: str) -> ToldObjective:
    """Return an objective as the mesh tells of it: of the model, or of the first that has it where none is named.

    Raises:
        NoObjective: there is none.
    """
    for told in slos:
        if told.get("name") == slo and model in ("", told.get("model")):
            return msgspec.convert(told, ToldObjective)
    raise NoObjective(f"No model of the policy in force has the objective {slo[:64] or 'that is asked for'}.")


def simulation_json(told: ToldObjective, asked: Asked, slots: ToldSlots | None) -> Json:
    """Return the answer of ``/api/slos/simulate``.

    Args:
        slots: what was counted; it is needed where the past is to be judged anew.

    Raises:
        BadQuery: the target or a factor cannot be.
    """
    own = objective_of(told)
    try:
        objective = changed(own, asked.target, asked.factors)
    except CannotBe as wrong:
        raise BadQuery(_sentence(wrong)) from None
    same = {
        "slo": told.name,
        "model": told.model,
        "target": objective.target,
        "policy_target": own.target,
        "period_s": own.period_s,
        "good_when": told.good_when,
        "is_changed": objective != own,
        "given": asked.given,
        "error": "",
    }
    if asked.fault is not None:
        return same | _of_fault(told, objective, asked, asked.fault)
    if slots is None:
        return same | {"courses": [], "error": "The mesh does not tell what it counted."}
    return same | _of_past(own, objective, asked, slots)


def _of_fault(told: ToldObjective, objective: Objective, asked: Asked, fault: Fault) -> Json:
    found = simulate(objective, fault)
    ends_s = [one.ends_s or one.begins_s for course in found.courses for one in course.fires]
    shown_s = min(found.looked_s, ceil(max(1.25 * fault.length_s, 1.05 * max(ends_s, default=0)) / 10) * 10)
    return {
        "is_replay": False,
        "fault": {
            "bad_share": float(fault.bad_share),
            "length_s": fault.length_s,
            "rate_per_s": float(fault.rate_per_s),
        },
        "begins_s": asked.begins_s,
        "shown_s": shown_s,
        "courses": [_course_json(course, objective, ()) for course in found.courses],
        "cost": found.cost,
        "remaining_ratio": 1.0 - found.cost,
        "remaining_now": remaining_ratio(EventCount(told.good, told.bad), objective.target),
        "every_s": 10,
        "unknown": [],
        "curve": _curve(objective, Traffic(fault), 0, shown_s, 10),
        "command": _command(asked),
    }


def _of_past(own: Objective, objective: Objective, asked: Asked, told: ToldSlots) -> Json:
    slots = slots_of(told)
    to_s = int(told.at_s // COARSE_S * COARSE_S)
    from_s = to_s - asked.last_s
    found = replay(objective, slots, from_s, to_s)
    as_is = replay(own, slots, from_s, to_s) if objective != own else found
    return {
        "is_replay": True,
        "fault": None,
        "begins_s": from_s,
        "shown_s": asked.last_s,
        "courses": [
            _course_json(course, objective, before.fires)
            for course, before in zip(found.courses, as_is.courses, strict=True)
        ],
        "cost": None,
        "remaining_ratio": found.remaining_ratio,
        "remaining_now": as_is.remaining_ratio,
        "every_s": found.every_s,
        "unknown": [[begin - from_s, end - from_s] for begin, end in unknown(told, from_s, to_s)],
        "curve": _curve(objective, slots, from_s, to_s, _step(found, asked.last_s)),
        "command": _command(asked),
    }


def _step(found: Replay, length_s: int) -> int:
    return max(found.every_s, length_s // _POINTS // found.every_s * found.every_s)


def _course_json(course: Course, objective: Objective, as_is: Sequence[object]) -> Json:
    alert: Alert = course.alert
    return {
        **msgspec.to_builtins(alert),
        "fires": msgspec.to_builtins(course.fires),
        "as_is": msgspec.to_builtins(as_is),
        "held_back": course.held_back,
        "never": never(objective).get(alert.name, ""),
    }


def _curve(objective: Objective, counted: Counted, from_s: int, to_s: int, step_s: int) -> Json:
    """Return how fast each window burned and what was left of the budget, at moments from the beginning on."""
    every_s = max(step_s, ceil((to_s - from_s) / _POINTS / step_s) * step_s)
    moments = range(from_s, to_s + 1, every_s)
    return {
        "moments_s": [at_s - from_s for at_s in moments],
        "remaining": [remaining_ratio(counted.count(objective.period_s, at_s), objective.target) for at_s in moments],
        "burn": {
            f"{window_s:g}": [burn_rate(counted.count(window_s, at_s), objective.target) for at_s in moments]
            for window_s in windows(objective)
        },
    }


def _command(asked: Asked) -> str:
    """Return the line that says the same in a terminal."""
    words = ["penstock", "slo", "simulate", asked.slo]
    if asked.fault is None:
        words += ["--last", duration_text(float(asked.last_s)), "--model", asked.model]
    else:
        share, length, rate = _fault_texts(asked.given)
        words += ["--bad-share", share, "--for", length, "--rate", rate]
    words += ["--target", asked.target] if asked.target else []
    for name, factor in asked.factors.items():
        words += ["--factor", f"{name}={factor}"]
    words += ["--policies", "POLICIES"] if asked.fault is not None else []
    return shlex.join(words)


def alerts_with_factors(objective: ToldObjective) -> list[str]:
    """Return the names of the alerts whose factor may be tried otherwise."""
    return [one.name for one in objective_of(objective).alerts]
