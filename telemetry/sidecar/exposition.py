"""Writes samples in Prometheus' text format, or in OpenMetrics for those who accept it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

from telemetry.conventions import Metric
from telemetry.sidecar.samples import Sample

_OPENMETRICS = "application/openmetrics-text"


class _Families:
    """Samples as ``prometheus_client`` takes them."""

    def __init__(self, shown: Iterable[Sample]) -> None:
        self._shown = shown

    def collect(self) -> Iterator[Family]:
        for metric, members in groupby(self._shown, key=lambda sample: sample.metric):
            family = _family(metric)
            for sample in members:
                family.add_metric(sample.labels, sample.value)
            yield family


def expose(shown: Iterable[Sample], accept: str) -> tuple[str, bytes]:
    """Return the content type and the body.

    Args:
        shown: samples; those of one metric follow each other.
        accept: the reader's ``Accept`` field, "" when there is none.
    """
    # One form of each format: a version or an escaping that a reader asks for beside it changes nothing of ours.
    accepted = {item.partition(";")[0].strip().lower() for item in accept.split(",")}
    encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in accepted else "")
    return content_type, encode(_Families(shown))


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    return kind(metric.name, metric.meaning, labels=metric.labels, unit=metric.unit)
