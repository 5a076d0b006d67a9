"""``context.metrics``: a handler's own metrics, kept in memory under a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

# A handler that puts request data into names or dimensions must not fill the memory.
MAX_METRICS = 256
MAX_SERIES_PER_METRIC = 256

Labels = tuple[str, ...]


@dataclass(slots=True)
class Metric:
    """One metric and its series by dimension values.

    Attributes:
        dropped: updates that would have made a series too many.
    """

    metric_name: str
    unit: str
    dimension_names: tuple[str, ...]
    metric_type: MetricTypes
    values: dict[Labels, float] = field(default_factory=dict)
    counts: dict[Labels, int] = field(default_factory=dict)
    dropped: int = 0

    def add_or_update(self, value: float, dimension_values: Sequence[str] = (), request_id: str = "") -> None:
        """Add to a counter or a histogram's sum; replace a gauge."""
        labels = tuple(str(item) for item in dimension_values)
        if labels not in self.values and len(self.values) >= MAX_SERIES_PER_METRIC:
            self.dropped += 1
            return
        before = 0.0 if self.metric_type is MetricTypes.GAUGE else self.values.get(labels, 0.0)
        self.values[labels] = before + float(value)
        self.counts[labels] = self.counts.get(labels, 0) + 1

    def update(self, value: float, request_id: str = "", dimensions: Sequence[Dimension] = ()) -> None:
        self.add_or_update(value, [dimension.value for dimension in dimensions], request_id)


class MetricsStore:
    """Every metric of one handler, by name and kind."""

    def __init__(self) -> None:
        self.cache: dict[tuple[str, MetricTypes], Metric] = {}
        self.dropped = 0

    def add_metric_to_cache(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> Metric:
        """Return the metric of this name and kind, made when it is new; one that is too many is kept nowhere."""
        key = (metric_name, metric_type)
        if (known := self.cache.get(key)) is not None:
            return known
        metric = Metric(metric_name, unit, tuple(dimension_names), metric_type)
        if len(self.cache) < MAX_METRICS:
            self.cache[key] = metric
        else:
            self.dropped += 1
        return metric

    def get_metric(self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER) -> Metric:
        """Raises: KeyError when no such metric was added."""
        return self.cache[(metric_name, metric_type)]

    def add_metric(
        self,
        name: str,
        value: float,
        unit: str,
        idx: int | None = None,
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> None:
        given = dimensions or ()
        metric = self.add_metric_to_cache(name, unit, [item.name for item in given], metric_type)
        metric.add_or_update(value, [item.value for item in given])

    def add_counter(
        self, name: str, value: float, idx: int | None = None, dimensions: Sequence[Dimension] | None = None
    ) -> None:
        self.add_metric(name, value, "count", idx, dimensions, MetricTypes.COUNTER)

    def add_time(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "ms",
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        _check_unit(unit, ("ms", "s"))
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_size(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "MB",
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        _check_unit(unit, ("MB", "kB", "GB", "B"))
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_percent(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        self.add_metric(name, value, "percent", idx, dimensions, metric_type)

    def add_error(self, name: str, value: float = 1, dimensions: Sequence[Dimension] | None = None) -> None:
        self.add_metric(name, value, "", None, dimensions, MetricTypes.COUNTER)


def _check_unit(unit: str, known: tuple[str, ...]) -> None:
    if unit not in known:
        raise ValueError(f"the unit for a given metric should be one of {', '.join(known)}, not {unit!r}")
