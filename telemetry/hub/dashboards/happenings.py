"""Decides what happened to the mesh that a chart should be read beside: alerts that fired, and what was changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from telemetry.hub.shown.answers import Objective

_CANARY = "canary."
_ANNOUNCED = "policy.switch"
"""Says that the workers are about to be told; that the policy is in force is another record."""

_IN_FORCE = "policy.in_force"
_REFUSED = "policy.refused"

MOST = 200
"""Happenings that are told at once, the latest."""
MOST_TEXT = 200
"""Characters of what a policy changed."""


class ChangeRecord(Struct, frozen=True):
    """A record of the audit log, as far as it is read here."""

    at: str
    actor: str
    action: str
    subject: str
    from_generation: int = 0
    to_generation: int = 0
    reason: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


class Changes(Struct, frozen=True):
    """The answer of ``/api/changes``: what was changed, newest first."""

    records: tuple[ChangeRecord, ...] = ()
    is_known: bool = False
    error: str = ""


class Happening(Struct, frozen=True):
    """An alert that fired, or a change.

    Attributes:
        kind: ``incident``, ``deploy`` or ``canary``.
        ends_s: when an incident was over; None while it goes on, and for what has no length.
        severity: of an incident; "" for a change.
        slo, model: what an incident is of, "" for a change.
    """

    kind: str
    at_s: float
    ends_s: float | None
    text: str
    severity: str = ""
    slo: str = ""
    model: str = ""


def happenings(objectives: Iterable[Objective], changes: Changes, since_s: float) -> tuple[Happening, ...]:
    """Return what began or went on since a moment, the latest first."""
    found = [one for slo in objectives for one in incidents(slo)]
    found += [one for record in changes.records if (one := _change(record)) is not None]
    recent = [one for one in found if one.at_s >= since_s or (one.kind == "incident" and _ends_s(one) >= since_s)]
    return tuple(sorted(recent, key=lambda one: (-one.at_s, one.text))[:MOST])


def _ends_s(one: Happening) -> float:
    return float("inf") if one.ends_s is None else one.ends_s


def incidents(objective: Objective) -> list[Happening]:
    """Return when the objective's alerts fired, each from its beginning to its end."""
    found: list[Happening] = []
    began_s: dict[str, tuple[float, str]] = {}

    def told(name: str, ends_s: float | None) -> None:
        at_s, severity = began_s.pop(name)
        text = f"{name} of {objective.model} · {objective.name}"
        found.append(Happening("incident", at_s, ends_s, text, severity, objective.name, objective.model))

    for one in sorted(objective.recent, key=lambda one: one.at):
        if one.state == "firing":
            began_s[one.name] = (one.at, one.severity)
        elif one.name in began_s:
            told(one.name, one.at)
    for name in list(began_s):
        told(name, None)
    return found


def _change(record: ChangeRecord) -> Happening | None:
    at_s = _moment_s(record.at)
    if at_s is None:
        return None
    text = _changed(record) or f"{record.action} {record.subject} by {record.actor}".replace("  ", " ")
    if record.action.startswith(_CANARY):
        return Happening("canary", at_s, None, text)
    if record.action == _REFUSED:
        return Happening("deploy", at_s, None, f"files refused: {_lines(record, 'errors') or text}")
    if record.action != _ANNOUNCED and record.from_generation != record.to_generation:
        return Happening("deploy", at_s, None, f"generation {record.to_generation}: {text}")
    return None


def _changed(record: ChangeRecord) -> str:
    """Return what a policy changed, such as "route digits: stable 1 -> 3"; "" for a record that does not say."""
    return _lines(record, "changes") if record.action == _IN_FORCE else ""


def _lines(record: ChangeRecord, key: str) -> str:
    """Return what a record lists, in one line that is not too long; "" where it is no list."""
    lines = record.detail.get(key)
    text = "; ".join(line for line in lines if isinstance(line, str)) if isinstance(lines, list | tuple) else ""
    return text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"


def _moment_s(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
