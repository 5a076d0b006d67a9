"""Decides what was changed of a model of late: policies that named it, and steps of its canary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

Json = dict[str, Any]

MAX_CHANGES = 100
MAX_TEXT = 120
_IN_FORCE = "policy.in_force"


def changes_of(model: str, rollouts: Json | None, records: Sequence[Any]) -> list[Json]:
    """Return each change with its moment, oldest first.

    Args:
        rollouts: of the model, as its supervisor tells them, the canary's past included; None when it did not.
        records: of the audit log.
    """
    found = [*_steps(model, rollouts or {}), *_policies(model, records)]
    return sorted(found, key=lambda change: float(change["at_s"]))[-MAX_CHANGES:]


def _steps(model: str, rollouts: Json) -> Iterable[Json]:
    for rollout in _dicts(rollouts.get("rollouts")):
        if rollout.get("model") != model:
            continue
        for step in _dicts(rollout.get("transitions")):
            at_s, share = step.get("at_s"), step.get("share")
            if isinstance(at_s, int | float) and isinstance(share, int | float):
                text = f"canary {rollout.get('version')}: {step.get('to_state')}, {share:.3g} of requests"
                yield {"at_s": at_s, "kind": "canary", "text": _cut(text)}


def _policies(model: str, records: Sequence[Any]) -> Iterable[Json]:
    for record in _dicts(records):
        detail = record.get("detail")
        lines = detail.get("changes") if isinstance(detail, dict) else None
        named = [line for line in _each(lines) if isinstance(line, str) and _is_about(line, model)]
        at_s = _moment_s(record.get("at"))
        if record.get("action") == _IN_FORCE and named and at_s is not None:
            text = f"policy {record.get('to_generation')}: {'; '.join(named)}"
            yield {"at_s": at_s, "kind": "policy", "text": _cut(text)}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _is_about(line: str, model: str) -> bool:
    """Whether a line of a policy's changes is about the model's route: "route digits: stable 1 -> 2"."""
    return line.startswith((f"route {model}:", f"route {model} "))


def _moment_s(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None


def _dicts(found: Any) -> Iterable[Json]:
    return (one for one in _each(found) if isinstance(one, dict))


def _each(found: Any) -> Iterable[Any]:
    return found if isinstance(found, list | tuple) else ()
