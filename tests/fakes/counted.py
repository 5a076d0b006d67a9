"""Counted steps for the hub's pages: a load that goes up and down, errors in the middle, a gap, kept traces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from telemetry.hub.measured import answers
from telemetry.hub.measured.answers import Kept, PodStep, PodSum, Row, Slot, pod_sum
from telemetry.hub.measured.cells import Cell, Part, Shown, added
from telemetry.hub.measured.desk import spanned
from telemetry.hub.measured.fold import WHOLE
from telemetry.hub.measured.steps import SPANS_S, level_for, start_of

Json = dict[str, Any]

NOW_S = 1_800_000_060.0
EDGES_S = (0.0, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, math.inf)
DIGITS = (("digits", "1"), ("digits", "2"))
_TRACES = 9


def cell(
    place: int, step_s: int, *, share: float = 1.0, is_failing: bool = False, trace_ids: Sequence[str] = ()
) -> Cell:
    """Return what a version did in the numbered step."""
    requests = round(step_s * share * (20 + 12 * math.sin(place / 9)))
    errors = requests // 7 if is_failing else 0
    good = requests - errors - requests // 50
    peak = 2 + (place // 6) % 3
    took = {peak - 1: good // 4, peak: good // 2, peak + 1: good - good // 4 - good // 2}
    batches = requests // 6
    parts = {
        "gateway wait": Part(requests // 40 * 0.004, requests // 40),
        "pod queue": Part(requests * 0.0021, requests),
        "preprocess": Part(batches * 0.0004, batches),
        "inference": Part(batches * (0.006 + 0.002 * peak), batches),
        "postprocess": Part(batches * 0.0003, batches),
    }
    shown = tuple(Shown(NOW_S - 20 * at - 5, 0.02 * (at + 1), one, "2xx") for at, one in enumerate(trace_ids))
    return Cell(
        {"2xx": good, "4xx": requests // 50} | ({"5xx": errors} if errors else {}),
        {"malformed_body": requests // 50} | ({"pod_failed": errors} if errors else {}),
        tuple((EDGES_S[at], EDGES_S[at + 1], count) for at, count in sorted(took.items()) if count),
        good * 0.012,
        parts,
        ((1.0, 2.0, batches // 3), (4.0, 8.0, batches - batches // 3)),
        requests * 0.0011,
        step_s * 0.32 * share,
        float(step_s),
        shown,
    )


def kept(
    span: str,
    versions: Iterable[tuple[str, str]] = DIGITS,
    *,
    of: str = "",
    is_fine: bool = False,
    trace_ids: Sequence[str] = (),
) -> Kept:
    """Return the steps of a span, a tenth of which nobody looked at."""
    span_s = SPANS_S[span]
    level = level_for(span_s, of_each=not of and not is_fine)
    first_s = start_of(NOW_S - span_s, level.step_s) + level.step_s
    starts = range(first_s, int(NOW_S) + 1, level.step_s)
    seen = {start: place for place, start in enumerate(starts) if not 0.3 < place / len(starts) < 0.4}
    slots = {
        start: Slot(start, float(level.step_s), {"retries": 1, "inference restarts": place % 2})
        for start, place in seen.items()
    }
    rows = [
        Row(start, *version, cell(
            place, level.step_s, share=1 / (1 + index), is_failing=index == 1 and 0.5 < place / len(starts) < 0.7,
            trace_ids=trace_ids if start == max(seen) and not index else (),
        ))
        for start, place in seen.items()
        for index, version in enumerate(versions)
        if of in ("", version[0])
    ]  # fmt: skip
    return Kept(level, first_s, NOW_S, slots, tuple(rows))


def as_one(each: Kept) -> Kept:
    """Return all models as one."""
    by_step: dict[int, list[Cell]] = {}
    for row in each.rows:
        by_step.setdefault(row.start_s, []).append(row.cell)
    rows = tuple(Row(start, *WHOLE, added(cells)) for start, cells in by_step.items())
    return msgspec.structs.replace(each, rows=rows)


def pods(names: Iterable[tuple[str, str, str]]) -> list[PodSum]:
    """Return what pods did, each named with its model and version."""
    sums = (
        pod_sum(
            pod, [PodStep(NOW_S, 300.0, {(model, version): cell(4, 300)}, {"2xx": 3000, "5xx": 4}, ((0.01, 0.02, 40),))]
        )
        for pod, model, version in names
    )
    return [one for one in sums if one is not None]


class Counted:
    """What the hub has counted; a test may change it.

    Attributes:
        versions: that were called.
        trace_ids: of kept traces that were counted.
    """

    def __init__(self, trace_ids: Sequence[str] = ()) -> None:
        self.versions: tuple[tuple[str, str], ...] = DIGITS
        self.pods = [("digits/1/0", "digits", "1"), ("digits/2/0", "digits", "2")]
        self.trace_ids = trace_ids
        self.error = ""
        self.records: list[Json] = [
            record("2027-01-15T07:59:30Z", "policy.in_force", "policy", 4, 5),
            record("2027-01-15T07:55:00Z", "canary.begin", "rollout/digits/canary", 5, 5),
            record("2027-01-15T07:59:29Z", "policy.switch", "policy", 4, 5),
            record("2027-01-15T07:50:00Z", "key.revoke", "search/1", 5, 5),
        ]

    def all(self, span: str) -> Json:
        """Return what ``GET /api/red`` answers."""
        span = spanned(span)
        each = kept(span, self.versions)
        found = answers.measured(
            as_one(kept(span, self.versions, is_fine=True)), each, span, pods(self.pods), self.error
        )
        return _json(found)

    def one(self, model: str, version: str, span: str) -> Json:
        """Return what ``GET /api/red/{model}`` answers."""
        span = spanned(span)
        mine = [one for one in self.versions if one[0] == model]
        return _json(
            answers.series(kept(span, mine, of=model, trace_ids=self.trace_ids), model, version, span, self.error)
        )


def record(at: str, action: str, subject: str, from_generation: int, to_generation: int) -> Json:
    """Return a record of the audit log."""
    return {
        "n": 1,
        "at": at,
        "actor": "files",
        "action": action,
        "subject": subject,
        "from_generation": from_generation,
        "to_generation": to_generation,
        "reason": "",
    }


def _json(found: Any) -> Json:
    built: Json = msgspec.to_builtins(found)
    return built
