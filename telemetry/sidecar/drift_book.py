"""Counts what sampled rows of a pod had: by window, to be judged, and in all, for metrics; no clock, no file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from policies.snapshot.watching import Drift
from telemetry.conventions import (
    DRIFT_LIMIT,
    DRIFT_PSI,
    DRIFT_ROWS,
    DRIFTING,
    OUTPUT_CLASS_ROWS,
    OUTPUT_CONSTANT,
    OUTPUT_FLAGGED_ROWS,
)
from telemetry.drift.fields import INPUT, OTHER, OUTPUT
from telemetry.drift.reports import VersionReport
from telemetry.drift.windows import Kept, add, place_of
from telemetry.records import PodSummary
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.samples import Sample
from telemetry.stats.drift import Says

SHOWN_CLASSES = 20
"""Classes of one output that metrics tell apart; the first that come."""


class DriftBook:
    """What one pod's rows add up to.

    Attributes:
        windows: as they are kept.
        window_s: how long each is.
        is_changed: something was counted since somebody last set this to False.
        report: what was last judged; None while nothing was.
    """

    def __init__(self, model: str, version: str, kept: Kept, drops: Drops) -> None:
        self.windows = kept.windows
        self.window_s = kept.window_s
        self.is_changed = False
        self.report: VersionReport | None = None
        self._of = (model, version)
        self._drops = drops
        self._drift: Drift | None = None
        self._watched: tuple[tuple[str, str], ...] = ()
        self._rows: Counter[tuple[str, str]] = Counter()
        self._flags: Counter[tuple[str, str]] = Counter()
        self._classes: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @property
    def drift(self) -> Drift | None:
        """How the model is watched; None while it is not."""
        return self._drift

    def heed(self, drift: Drift | None) -> None:
        """Count by this from now on; windows of another length are no past of it, and counting begins anew."""
        self._drift = drift
        if drift is not None and drift.window_s != self.window_s:
            if self.windows:
                self._drops.add("windows", "another_length", len(self.windows))
                self.windows, self.is_changed = {}, True
            self.window_s = drift.window_s
        self._watched = () if drift is None else _watched(drift)
        if drift is None:
            self.report = None

    def take(self, summary: PodSummary, at_s: float, wall_s: float) -> None:
        """Count what some rows had.

        Args:
            at_s, wall_s: when they were, and when this is, in seconds since the epoch.
        """
        field = summary.field
        if self._drift is None or (summary.side, summary.path) not in self._watched:
            self._drops.add("summaries", "unwatched")
            return
        window_s = self._drift.window_s
        # A clock that is far off must not make windows of its own.
        moment_s = min(max(at_s, wall_s - window_s), wall_s)
        add(self.windows, moment_s, window_s, place_of(summary.side, summary.path), field)
        self.is_changed = True
        if field.unread and (summary.side, summary.path) == self._watched[0]:
            self._drops.add("rows", "unread", field.unread)  # each part tells of the same rows
        self._rows[summary.side, summary.path] += field.rows
        if summary.side == OUTPUT:
            self._count_output(summary)

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted, and how far it has moved."""
        for (side, path), count in self._rows.items():
            yield Sample(DRIFT_ROWS, (*self._of, side, path), float(count))
        for (path, flag), count in self._flags.items():
            yield Sample(OUTPUT_FLAGGED_ROWS, (*self._of, path, flag), float(count))
        for path, classes in self._classes.items():
            for name, count in classes.items():
                yield Sample(OUTPUT_CLASS_ROWS, (*self._of, path, name), float(count))
        if self.report is not None:
            yield from self._judged(self.report)

    def _judged(self, report: VersionReport) -> Iterator[Sample]:
        yield Sample(DRIFTING, self._of, float(report.says == Says.DRIFTS))
        for part in report.parts:
            if part.side == OUTPUT:
                yield Sample(OUTPUT_CONSTANT, (*self._of, part.path), float(part.is_constant))
            for measure in part.measures:
                if measure.history:
                    labels = (*self._of, part.side, part.path, measure.measure)
                    yield Sample(DRIFT_PSI, labels, measure.psi)
                    yield Sample(DRIFT_LIMIT, labels, measure.limit)

    def _count_output(self, summary: PodSummary) -> None:
        for flag, count in (*summary.field.flags.items(), *_absent(summary)):
            self._flags[summary.path, flag] += count
        known = self._classes[summary.path]
        for name, count in summary.field.classes.items():
            known[name if name in known or len(known) < SHOWN_CLASSES else OTHER] += count


def _absent(summary: PodSummary) -> Iterator[tuple[str, int]]:
    return ((kind, summary.field.kinds[kind]) for kind in ("missing", "null") if kind in summary.field.kinds)


def _watched(drift: Drift) -> tuple[tuple[str, str], ...]:
    sides = ((INPUT, drift.inputs), (OUTPUT, drift.outputs))
    return tuple((side, watched.path) for side, parts in sides for watched in parts)
