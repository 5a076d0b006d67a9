"""Puts together what the pages show of canaries and shadows: from what the mesh's supervisor told last."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from telemetry.hub.overview import old_text

Json = dict[str, Any]


class Told(Struct, frozen=True):
    """What the supervisor told of one thing.

    Attributes:
        answer: the last; None before the first.
        at_s: when that was, seconds since the epoch; 0 before.
        error: why nothing newer is known; "" when the last question was answered.
    """

    answer: Json | None = None
    at_s: float = 0.0
    error: str = ""


def releases_json(told: Told, now_s: float) -> Json:
    """Return the answer of ``/api/rollouts`` or ``/api/shadows``; ``is_known`` tells nothing from not knowing."""
    is_known = told.answer is not None
    return {**(told.answer or {}), "is_known": is_known, "error": old_text(told.error, told.at_s, now_s)}


def has_rollout(told: Told, model: str) -> bool:
    """Whether the model is among the canaries that were told of."""
    return any(_is_of(one, model) for one in _rollouts(told))


def lacks(answer: Json, model: str) -> bool:
    """Whether a mesh that answers has no canary of the model; of what is not known nothing is said."""
    is_known = answer["is_known"] and not answer["error"]
    return is_known and not has_rollout(Told(answer), model)


def with_whole(every: Told, model: str, whole: Told) -> Told:
    """Return what was told of every canary, with one model's as it was told apart: that has its past, too."""
    error = every.error or whole.error
    if every.answer is None or whole.answer is None:
        return replace(every, error=error)
    rollouts = [whole.answer if _is_of(one, model) else one for one in _rollouts(every)]
    return replace(every, answer=every.answer | {"rollouts": rollouts}, error=error)


def _rollouts(told: Told) -> list[Any]:
    rollouts = (told.answer or {}).get("rollouts")
    return rollouts if isinstance(rollouts, list) else []


def _is_of(rollout: Any, model: str) -> bool:
    return isinstance(rollout, dict) and rollout.get("model") == model
