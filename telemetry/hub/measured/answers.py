"""Decides what is told of counted steps: rates, shares and quantiles, with "nobody looked" apart from "nothing"."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from telemetry.hub.measured.cells import NOTHING, Cell, Part, Shown, added, merged, quantile
from telemetry.hub.measured.fold import Version, together
from telemetry.hub.measured.growth import Bucket
from telemetry.hub.measured.steps import Level, start_of

PODS_S = 300.0
"""So far back a pod's own counts are told."""


class Row(Struct, frozen=True):
    """One version in one step, as it is stored."""

    start_s: int
    model: str
    version: str
    cell: Cell


class Slot(Struct, frozen=True):
    """One step of the whole mesh.

    Attributes:
        observed_s: for how long its counters were read.
        mesh: counts of the whole mesh by what they are.
    """

    start_s: int
    observed_s: float
    mesh: dict[str, int]


class Kept(Struct, frozen=True):
    """What is stored of a stretch of time, in steps of one length."""

    level: Level
    from_s: int
    to_s: float
    slots: dict[int, Slot]
    rows: tuple[Row, ...]


class Mean(Struct, frozen=True):
    """One part of the way; ``mean_s`` is of those who went it."""

    name: str
    mean_s: float
    total_s: float
    count: int


class Summed(Struct, frozen=True):
    """Some cells together. What is None could not be measured.

    Attributes:
        requests_per_s: None where nobody read the counters.
        error_ratio: share of statuses of 500 and more; None without requests.
        p50_s, p95_s, p99_s: of answers below 400.
        batches: how many batches had more rows than the first number and up to the second; None for no upper edge.
        device_s: as requests were charged; ``busy_s`` and ``pod_s`` as pods tell, for as long as they were there.
    """

    requests: int
    requests_per_s: float | None
    by_class: dict[str, int]
    reasons: dict[str, int]
    error_ratio: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    parts: tuple[Mean, ...]
    batches: tuple[tuple[float, float | None, int], ...]
    device_s: float
    busy_s: float
    pod_s: float


class Of(Struct, frozen=True):
    """What a model or version did; ``rates`` are requests per second in each step, None where nobody looked."""

    model: str
    version: str
    summed: Summed
    rates: tuple[float | None, ...] = ()


class PodSum(Struct, frozen=True):
    """What a pod did in the last five minutes, as its sidecar counted; ``by_class`` are its own answers.

    Attributes:
        observed_s: for how long its sidecar was read; 0 where only its version is known.
        busy_ratio: share of that time in which its batches held its device.
    """

    pod: str
    model: str
    version: str
    observed_s: float
    by_class: dict[str, int]
    requests_per_s: float | None
    error_ratio: float | None
    inference_p95_s: float | None
    parts: tuple[Mean, ...]
    batches: tuple[tuple[float, float | None, int], ...]
    busy_ratio: float | None


class Point(Struct, frozen=True):
    """One step of a model; where nobody read the counters ``summed`` is None.

    Attributes:
        took: how many answers below 400 took longer than the first number and up to the second; None for no upper edge.
    """

    start_s: int
    observed_s: float
    summed: Summed | None
    took: tuple[tuple[float, float | None, int], ...] = ()


class Measured(Struct, frozen=True):
    """The answer of ``/api/red``: every model in a stretch of time, from counts before any sampling.

    Attributes:
        observed_s: for how long of it the counters were read.
        starts: of each step of the whole mesh, seconds since the epoch.
        points: the whole mesh step by step; models have steps of their own, which may be longer.
        mesh: counts of the whole mesh by what they are.
    """

    span: str = ""
    at_s: float = 0.0
    step_s: int = 0
    observed_s: float = 0.0
    starts: tuple[int, ...] = ()
    whole: Of | None = None
    points: tuple[Point, ...] = ()
    models: tuple[Of, ...] = ()
    versions: tuple[Of, ...] = ()
    pods: tuple[PodSum, ...] = ()
    mesh: dict[str, int] = {}
    error: str = ""


class ModelSeries(Struct, frozen=True):
    """The answer of ``/api/red/{model}``: one model, or one version of it, step by step."""

    model: str
    version: str
    span: str
    at_s: float
    step_s: int
    observed_s: float
    summed: Summed
    points: tuple[Point, ...]
    exemplars: tuple[Shown, ...]
    versions: tuple[str, ...]
    error: str = ""


def summed(cell: Cell, observed_s: float) -> Summed:
    """Return what a cell says of the time in which it was counted."""
    return Summed(
        cell.requests,
        cell.requests / observed_s if observed_s > 0 else None,
        dict(sorted(cell.by_class.items())),
        cell.reasons,
        cell.errors / cell.requests if cell.requests else None,
        quantile(0.5, cell.took),
        quantile(0.95, cell.took),
        quantile(0.99, cell.took),
        means(cell.parts),
        told(cell.batches),
        cell.device_s,
        cell.busy_s,
        cell.pod_s,
    )


def means(parts: Mapping[str, Part]) -> tuple[Mean, ...]:
    """Return the parts that happened."""
    return tuple(
        Mean(name, part.total_s / part.count, part.total_s, part.count) for name, part in parts.items() if part.count
    )


def told(buckets: Iterable[Bucket]) -> tuple[tuple[float, float | None, int], ...]:
    """Return the buckets as JSON can hold them, which has no infinity."""
    return tuple((lower, upper if math.isfinite(upper) else None, count) for lower, upper, count in buckets)


def starts(kept: Kept) -> tuple[int, ...]:
    """Return when each step of the stretch began."""
    return tuple(range(kept.from_s, start_of(kept.to_s, kept.level.step_s) + 1, kept.level.step_s))


def observed_s(kept: Kept) -> float:
    """Return for how long of the stretch the counters were read."""
    return math.fsum(slot.observed_s for slot in kept.slots.values())


def measured(whole: Kept, each: Kept, span: str, pods: Sequence[PodSum], error: str) -> Measured:
    """Return every model.

    Args:
        whole: all of them as one, in steps that may be finer than theirs.
        each: each of them.
    """
    steps, fine = starts(each), starts(whole)
    every = {row.start_s: row.cell for row in whole.rows}
    by_version: dict[Version, list[Row]] = defaultdict(list)
    for row in each.rows:
        by_version[row.model, row.version].append(row)
    sums = {version: added(row.cell for row in rows) for version, rows in by_version.items()}
    by_model: dict[str, list[Version]] = defaultdict(list)
    for version in sorted(sums):
        by_model[version[0]].append(version)
    mesh: dict[str, int] = defaultdict(int)
    for slot in whole.slots.values():
        for what, count in slot.mesh.items():
            mesh[what] += count
    return Measured(
        span,
        whole.to_s,
        whole.level.step_s,
        observed_s(whole),
        fine,
        Of("", "", summed(added(every.values()), observed_s(whole))),
        tuple(_point(start, every.get(start, NOTHING), whole.slots.get(start), has_took=False) for start in fine),
        tuple(
            Of(
                model,
                "",
                summed(added(sums[version] for version in versions), observed_s(each)),
                _rates([row for version in versions for row in by_version[version]], each, steps),
            )
            for model, versions in by_model.items()
            if model
        ),
        tuple(Of(*version, summed(cell, observed_s(each))) for version, cell in sorted(sums.items()) if version[0]),
        tuple(pods),
        dict(mesh),
        error,
    )


def _rates(rows: Iterable[Row], kept: Kept, steps: Iterable[int]) -> tuple[float | None, ...]:
    counts: dict[int, int] = defaultdict(int)
    for row in rows:
        counts[row.start_s] += row.cell.requests
    slots = (kept.slots.get(start) for start in steps)
    return tuple(counts[slot.start_s] / slot.observed_s if slot and slot.observed_s > 0 else None for slot in slots)


def _by_step(several: Iterable[Mapping[int, Cell]]) -> dict[int, list[Cell]]:
    found: dict[int, list[Cell]] = defaultdict(list)
    for at in several:
        for start, cell in at.items():
            found[start].append(cell)
    return found


def series(kept: Kept, model: str, version: str, span: str, error: str) -> ModelSeries:
    """Return one model step by step, or one version of it."""
    rows = [row for row in kept.rows if row.model == model]
    mine = [row for row in rows if version in ("", row.version)]
    cells = {start: added(each) for start, each in _by_step([{row.start_s: row.cell} for row in mine]).items()}
    whole = added(cells.values())
    return ModelSeries(
        model,
        version,
        span,
        kept.to_s,
        kept.level.step_s,
        observed_s(kept),
        summed(whole, observed_s(kept)),
        tuple(_point(start, cells.get(start, NOTHING), kept.slots.get(start)) for start in starts(kept)),
        tuple(sorted({one for cell in cells.values() for one in cell.exemplars}, key=lambda one: one.at_s)),
        tuple(sorted({row.version for row in rows} - {""})),
        error,
    )


def _point(start_s: int, cell: Cell, slot: Slot | None, *, has_took: bool = True) -> Point:
    if slot is None or slot.observed_s <= 0:
        return Point(start_s, 0.0, None)
    return Point(start_s, slot.observed_s, summed(cell, slot.observed_s), told(cell.took) if has_took else ())


class PodStep(Struct, frozen=True):
    """What a pod did between two readings of its sidecar."""

    at_s: float
    between_s: float
    cells: dict[Version, Cell]
    attempts: dict[str, int]
    inference: tuple[Bucket, ...] = ()


def pod_sum(pod: str, steps: Iterable[PodStep]) -> PodSum | None:
    """Return what a pod did; None before its sidecar was read twice."""
    several = list(steps)
    cells = together(step.cells for step in several)
    if not cells:
        return None
    version, cell = next(iter(sorted(cells.items())))
    looked_s = math.fsum(step.between_s for step in several)
    by_class: dict[str, int] = defaultdict(int)
    for step in several:
        for code_class, count in step.attempts.items():
            by_class[code_class] += count
    answers = sum(by_class.values())
    inference = merged(step.inference for step in several)
    return PodSum(
        pod,
        *version,
        looked_s,
        dict(sorted(by_class.items())),
        answers / looked_s if looked_s > 0 else None,
        by_class.get("5xx", 0) / answers if answers else None,
        quantile(0.95, inference),
        means(cell.parts),
        told(cell.batches),
        cell.busy_s / cell.pod_s if cell.pod_s > 0 else None,
    )
