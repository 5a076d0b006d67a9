"""Blame: which version has most of an objective's bad events just now, and a trace of one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from gateway.control.request_totals import DurationKind, Durations, Exemplar
from gateway.control.slo_counts import SloCounts
from policies.snapshot.slos import Objective
from telemetry.slo.classify import classify
from telemetry.slo.events import Meaning

# An older trace tells of another trouble, and may be stored no more.
EXAMPLE_IS_FRESH_S: Final = 3600.0


class Blame(Struct, frozen=True):
    """Whom to look at first.

    Attributes:
        version: with most bad events of the window; "" where none is told apart, or none is bad.
        bad, of_all: its bad events, and those of all versions.
        trace_id: of a request that was bad and whose trace is kept; "" where none is known.
        has_failed: that request's status was 500 or more; otherwise it was slow.
    """

    window_s: float
    version: str = ""
    bad: int = 0
    of_all: int = 0
    trace_id: str = ""
    has_failed: bool = False


def blame(
    counts: SloCounts,
    durations: Mapping[DurationKind, Durations],
    subject: tuple[Objective, str],
    window_s: float,
    now_s: float,
) -> Blame:
    """Return whom to look at first.

    Args:
        subject: an objective and a model.
    """
    objective, model = subject
    bad = {
        version: counts.of_version(objective.name, model, version).count(window_s, now_s).bad
        for version in counts.versions(objective.name, model)
    }
    of_all = counts.of(objective.name, model).count(window_s, now_s).bad
    example, has_failed = _example(durations, objective, model, now_s)
    worst = max(bad, key=lambda version: bad[version], default="")
    if not bad.get(worst):
        return Blame(window_s, trace_id=example, has_failed=has_failed)
    return Blame(window_s, worst, bad[worst], of_all, example, has_failed)


def _example(
    durations: Mapping[DurationKind, Durations], objective: Objective, model: str, now_s: float
) -> tuple[str, bool]:
    """Return the latest trace of the model that is surely of a bad request, and whether that failed."""
    shown = [
        (exemplar.at_s, exemplar.trace_id, kind.code_class.startswith("5"))
        for kind, histogram in durations.items()
        if kind.model == model
        for exemplar in histogram.exemplars.values()
        if now_s - exemplar.at_s <= EXAMPLE_IS_FRESH_S and _is_surely_bad(objective, kind.code_class, exemplar)
    ]
    _, trace_id, has_failed = max(shown, default=(0.0, "", False))
    return trace_id, has_failed


def _is_surely_bad(objective: Objective, code_class: str, exemplar: Exemplar) -> bool:
    """Whether a request was bad of which the class of its status is known, and how long it took to its last byte."""
    if objective.events != "requests" or objective.pod or not code_class[:1].isdigit():
        return False
    status = int(code_class[0]) * 100
    if any(one // 100 == status // 100 for one in objective.ignore_status or ()):
        return False
    # When its first byte came is not known: such a request is bad by its status or not surely.
    took_s = 0.0 if objective.first_byte_within_s is not None else exemplar.duration_s
    return classify(objective, status, took_s) is Meaning.BAD
