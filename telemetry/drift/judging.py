"""Judges one version: each measure of each watched part against its reference, and the worst of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policies.snapshot.watching import Drift, Watched
from telemetry.drift.fields import INPUT, MEASURES, OUTPUT, Field
from telemetry.drift.reports import CLASS, KIND, Bin, MeasureReport, PartReport, Point, Shape, VersionReport
from telemetry.drift.windows import (
    PERIOD_ROWS,
    Dated,
    Place,
    Reference,
    Windows,
    latest,
    periods_of,
    place_of,
    reference_of,
)
from telemetry.stats.drift import (
    Distance,
    Says,
    class_bins,
    classes_apart,
    distance,
    limit,
    number_bins,
    number_ends,
    verdict,
)
from telemetry.stats.sketch import Sketch, bars, mean, quantile

SHOWN_PERIODS = 24
SHOWN_NAMES = 5
NOTHING_FOUND, OTHER_CLASSES = "nothing found", "other"
CONSTANT_FROM_ROWS = 100
_WORST_FIRST = (Says.DRIFTS, Says.MOVED, Says.LEARNING, Says.TOO_FEW, Says.STEADY)


def judge(model: str, version: str, drift: Drift, own: Windows, reference: Windows, now_s: float) -> VersionReport:
    """Return what is to be said of a version.

    Args:
        own: its windows.
        reference: windows of the version that it is compared with; the same where that is itself.
    """
    is_own = drift.reference in ("", version)
    parts: list[PartReport] = []
    references: list[Dated] = []
    for side, watched in _watched(drift):
        place = place_of(side, watched.path)
        known = reference_of(reference, place, drift.reference_s, drift.window_s, now_s)
        since_s = known.dated.until_s if is_own and known.dated is not None else 0.0
        references += [known.dated] if known.dated is not None else []
        parts.append(_part(side, watched.path, drift, known, own, since_s, now_s))
    widest = max(references, key=lambda dated: dated.field.rows, default=None)
    return VersionReport(
        model=model,
        version=version,
        says=worst([one.says for part in parts for one in part.measures]),
        reference_version=drift.reference or version,
        reference_from_s=widest.from_s if widest else 0.0,
        reference_until_s=widest.until_s if widest else 0.0,
        reference_rows=widest.field.rows if widest else 0,
        window_s=drift.window_s,
        alert_above=drift.alert_above,
        parts=tuple(parts),
        judged_s=now_s,
    )


def worst(said: Sequence[str]) -> str:
    """Return what is to be said of all of them together; a reference is being learnt while there is none."""
    return next((one.value for one in _WORST_FIRST if one in said), Says.LEARNING.value)


def _watched(drift: Drift) -> Iterator[tuple[str, Watched]]:
    yield from ((INPUT, watched) for watched in drift.inputs)
    yield from ((OUTPUT, watched) for watched in drift.outputs)


def _part(
    side: str, path: str, drift: Drift, known: Reference, own: Windows, since_s: float, now_s: float
) -> PartReport:
    place: Place = place_of(side, path)
    before = known.dated.field if known.dated is not None else Field()
    # A reference of many bins asks for more rows: thinner periods would say "too few" for ever.
    needed = max([PERIOD_ROWS, *(_distance(name, before, before).needed for name in _names(before))])
    periods = periods_of(own, place, since_s, drift.window_s, now_s, needed) if known.is_learnt else []
    now = periods[-1] if periods else latest(own, place, since_s if known.is_learnt else 0.0, drift.window_s, now_s)
    field = now.field if now is not None else Field()
    return PartReport(
        side=side,
        path=path,
        rows=field.rows,
        unread=field.unread,
        flags=dict(sorted(field.flags.items())),
        kinds=dict(sorted(field.kinds.items())),
        is_constant=is_constant(field),
        measures=tuple(
            _measure(name, drift.alert_above, known.is_learnt, before, field, periods) for name in _names(before, field)
        ),
    )


def is_constant(field: Field) -> bool:
    """Whether many rows all had the same there."""
    numbers = [sum(1 for _ in bars(sketch)) for name, sketch in field.measures.items() if name != "size"]
    told = [*numbers, *([len(field.classes)] if field.classes else [])]
    return field.rows >= CONSTANT_FROM_ROWS and bool(told) and max(told) == 1


def _names(*fields: Field) -> Iterator[str]:
    """Yield the measures that any of them has; of what was found there only that it was not always the same."""
    yield from (name for name in MEASURES if any(name in field.measures for field in fields))
    if any(field.classes for field in fields):
        yield CLASS
    if len({kind for field in fields for kind in field.kinds}) > 1:
        yield KIND


def _measure(
    name: str, alert_above: float, is_learnt: bool, before: Field, now: Field, periods: Sequence[Dated]
) -> MeasureReport:
    distances = [_distance(name, before, period.field) for period in periods[-SHOWN_PERIODS:]]
    last = distances[-1] if distances else _distance(name, before, now)
    points = [
        Point(period.from_s, period.until_s, one.psi, limit(alert_above, one.floor), one.rows)
        for period, one in zip(periods[-SHOWN_PERIODS:], distances, strict=True)
    ]
    return MeasureReport(
        measure=name,
        says=verdict(distances, alert_above, is_learnt).value,
        psi=last.psi,
        limit=limit(alert_above, last.floor),
        floor=last.floor,
        kl=last.kl,
        js=last.js,
        ks=last.ks,
        tvd=last.tvd,
        rows=last.rows,
        reference_rows=last.reference_rows,
        needed=last.needed,
        reference=_shape(name, before),
        now=_shape(name, now),
        history=tuple(points),
        bins=_bins(name, before, now),
    )


def _distance(name: str, before: Field, now: Field) -> Distance:
    """Compare one measure of two fields."""
    return distance(*_counts(name, before, now))


def _counts(name: str, before: Field, now: Field) -> tuple[list[int], list[int]]:
    """Return how many rows of two fields fell into each bin; rows that had none of it are the last."""
    if name in (CLASS, KIND):
        known, new = (field.classes if name == CLASS else field.kinds for field in (before, now))
        bins = class_bins(known, new)
    else:
        bins = number_bins(*(field.measures.get(name, Sketch()) for field in (before, now)))
    reference, later = (
        [*counts, max(0, field.rows - sum(counts))] for counts, field in zip(bins, (before, now), strict=True)
    )
    return reference, later


def _bins(name: str, before: Field, now: Field) -> tuple[Bin, ...]:
    """Return the bins that a measure is compared by, but for those that no row ever fell into."""
    if name in (CLASS, KIND):
        classes = before.classes if name == CLASS else before.kinds
        names: list[str] = [*classes_apart(classes), OTHER_CLASSES]
        places: list[tuple[float | None, float | None]] = [(None, None)] * len(names)
    else:
        ends = number_ends(*(field.measures.get(name, Sketch()) for field in (before, now)))
        places = list(zip([None, *ends], [*ends, None], strict=True))
        names = [""] * len(places)
    names, places = [*names, NOTHING_FOUND], [*places, (None, None)]
    counts = zip(*_counts(name, before, now), strict=True)
    told = zip(names, places, counts, strict=True)
    return tuple(Bin(one, first, later, *place) for one, place, (first, later) in told if first or later)


def _shape(name: str, field: Field) -> Shape:
    if name in (CLASS, KIND):
        counts = field.classes if name == CLASS else field.kinds
        commonest = sorted(counts, key=lambda one: (-counts[one], one))[:SHOWN_NAMES]
        whole = sum(counts.values())
        return Shape(names=tuple((one, counts[one] / whole) for one in commonest))
    sketch = field.measures.get(name, Sketch())
    if not sketch.count:
        return Shape()
    return Shape(mean(sketch), quantile(sketch, 0.1), quantile(sketch, 0.5), quantile(sketch, 0.9))
