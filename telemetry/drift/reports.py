"""What is told of drift: by version, part of the input or output, and measure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from policies.snapshot.watching import Drift

CLASS, KIND = "class", "kind"
"""Measures that are counts of names rather than numbers."""


class Shape(Struct, frozen=True):
    """One distribution in a few numbers; of counts of names, the commonest and their shares.

    Attributes:
        mean, p10, p50, p90: to the width of a bucket; None without numbers.
    """

    mean: float | None = None
    p10: float | None = None
    p50: float | None = None
    p90: float | None = None
    names: tuple[tuple[str, float], ...] = ()


class Bin(Struct, frozen=True):
    """One bin of both distributions.

    Attributes:
        name: a class, ``other`` for those that have no bin of their own, or ``nothing found``; "" of numbers.
        low, high: between which numbers it lies, to the width of a bucket; None where it has no end.
        reference, now: how many rows fell into it.
    """

    name: str
    reference: int
    now: int
    low: float | None = None
    high: float | None = None


class Point(Struct, frozen=True):
    """One period: when it began and ended, in seconds since the epoch, and how far it had moved."""

    from_s: float
    until_s: float
    psi: float
    limit: float
    rows: int


class MeasureReport(Struct, frozen=True):
    """One measure of one part.

    Attributes:
        measure: one of ``fields.MEASURES``, or ``class`` or ``kind``.
        says: ``drifts``, ``moved``, ``steady``, ``too_few`` or ``learning``.
        psi, floor, kl, js, ks, tvd: of the last period, see ``telemetry.stats.drift``; 0 without one.
        limit: above it a period has moved.
        rows, reference_rows, needed: how many rows say so, and how many there should be.
        history: the last periods, the oldest first.
        bins: both distributions as ``psi`` compares them; empty in a brief report, and so are shapes and history.
    """

    measure: str
    says: str
    psi: float = 0.0
    limit: float = 0.0
    floor: float = 0.0
    kl: float = 0.0
    js: float = 0.0
    ks: float = 0.0
    tvd: float = 0.0
    rows: int = 0
    reference_rows: int = 0
    needed: int = 0
    reference: Shape = Shape()
    now: Shape = Shape()
    history: tuple[Point, ...] = ()
    bins: tuple[Bin, ...] = ()


class PartReport(Struct, frozen=True):
    """One part of the input or the output.

    Attributes:
        side: ``input`` or ``output``.
        rows: that were summarised lately, and ``unread`` that were drawn and not summarised.
        flags: of these rows, how many had what is odd: ``nan``, ``infinite``, ``out_of_range``, ``empty``.
        kinds: of these rows, how many were what; ``missing`` and ``null`` among them.
        is_constant: every row had the same, to the width of a bucket.
    """

    side: str
    path: str
    rows: int
    unread: int
    flags: dict[str, int]
    kinds: dict[str, int]
    is_constant: bool
    measures: tuple[MeasureReport, ...]


class VersionReport(Struct, frozen=True):
    """One version of one model.

    Attributes:
        says: the worst of its measures; "" where nobody has looked yet.
        reference_version: whose first rows it is compared with; its own where that is the same.
        reference_from_s, reference_until_s: seconds since the epoch; 0 while there is none.
        reference_rows: of the part that has most.
        judged_s: when this was found, in seconds since the epoch; 0 where nobody has looked yet.
    """

    model: str
    version: str
    says: str
    reference_version: str
    reference_from_s: float
    reference_until_s: float
    reference_rows: int
    window_s: float
    alert_above: float
    parts: tuple[PartReport, ...]
    judged_s: float = 0.0


class DriftReport(Struct, frozen=True):
    """All versions that are watched.

    Attributes:
        at: seconds since the epoch.
        labels: late labels by model and what became of them, since the process that counts them started.
    """

    at: float
    versions: tuple[VersionReport, ...]
    labels: dict[str, dict[str, int]] = {}


def unjudged(model: str, version: str, drift: Drift) -> VersionReport:
    """Return what is to be said of a version that nobody has looked at yet."""
    return VersionReport(
        model=model,
        version=version,
        says="",
        reference_version=drift.reference or version,
        reference_from_s=0.0,
        reference_until_s=0.0,
        reference_rows=0,
        window_s=drift.window_s,
        alert_above=drift.alert_above,
        parts=(),
    )


def in_brief(version: VersionReport) -> VersionReport:
    """Return what a list shows of a version: its verdicts, without what they are drawn from."""
    return replace(version, parts=tuple(replace(part, measures=_brief(part.measures)) for part in version.parts))


def _brief(measures: tuple[MeasureReport, ...]) -> tuple[MeasureReport, ...]:
    return tuple(replace(one, reference=Shape(), now=Shape(), history=(), bins=()) for one in measures)
