"""Writes samples in Prometheus' text format, or in OpenMetrics for those who accept it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Exemplar

from telemetry.conventions import Metric
from telemetry.sidecar.histogram import Histogram
from telemetry.sidecar.samples import Sample

_OPENMETRICS = "application/openmetrics-text"


class _Families:
    """Samples as ``prometheus_client`` takes them."""

    def __init__(self, shown: Iterable[Sample]) -> None:
        self._of_metric: dict[Metric, list[Sample]] = {}
        for sample in shown:
            self._of_metric.setdefault(sample.metric, []).append(sample)

    def collect(self) -> Iterator[Family]:
        for metric, members in self._of_metric.items():
            yield _family(metric, members)


def expose(shown: Iterable[Sample], accept: str) -> tuple[str, bytes]:
    """Return the content type and the body; only OpenMetrics has exemplars.

    Args:
        accept: the reader's ``Accept`` field, "" when there is none.
    """
    # One form of each format: a version or an escaping that a reader asks for beside it changes nothing of ours.
    accepted = {item.partition(";")[0].strip().lower() for item in accept.split(",")}
    encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in accepted else "")
    return content_type, encode(_Families(shown))


def _family(metric: Metric, members: Iterable[Sample]) -> Family:
    if metric.kind == "histogram":
        histograms = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels, unit=metric.unit)
        for sample in members:
            if isinstance(sample.value, Histogram):
                histograms.add_metric(sample.labels, _buckets(sample.value), sample.value.sum)
        return histograms
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    numbers = kind(metric.name, metric.meaning, labels=metric.labels, unit=metric.unit)
    for sample in members:
        if not isinstance(sample.value, Histogram):
            numbers.add_metric(sample.labels, sample.value)
    return numbers


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    return [
        (edge, float(count), Exemplar({"trace_id": shown.trace_id}, shown.value, shown.at_s))
        if shown
        else (edge, float(count))
        for edge, count, shown in histogram.cumulative()
    ]
