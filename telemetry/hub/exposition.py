"""Writes the hub's own metrics in Prometheus' text format, or in OpenMetrics for those who accept it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder

from telemetry.conventions import (
    HUB_FILE_BYTES,
    HUB_FILES,
    HUB_POSTS,
    HUB_QUEUE,
    HUB_READINGS_LOST,
    HUB_SPANS,
    LOG_LINES,
    LOG_SUPPRESSED,
    TELEMETRY_DROPPED,
    Metric,
)
from telemetry.hub.writer import StoreCounts
from telemetry.logs.log import LOG

_OPENMETRICS = "application/openmetrics-text"

Family = CounterMetricFamily | GaugeMetricFamily


class Exposition:
    """The metrics as they are whenever somebody reads them.

    Args:
        readings_lost: returns how many readings of the mesh's counters could not be kept.
    """

    def __init__(self, store: Callable[[], StoreCounts], readings_lost: Callable[[], int]) -> None:
        self._store = store
        self._readings_lost = readings_lost
        self._posts: Counter[str] = Counter()

    @property
    def posts(self) -> dict[str, int]:
        """Posts of spans by the status that was answered."""
        return dict(self._posts)

    def told(self, status: int) -> None:
        """Count an answer of the OTLP receiver."""
        self._posts[str(status)] += 1

    def expose(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the body.

        Args:
            accept: the reader's ``Accept`` field, "" when there is none.
        """
        accepted = {item.partition(";")[0].strip().lower() for item in accept.split(",")}
        encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in accepted else "")
        return content_type, encode(self)

    def collect(self) -> Iterator[Family]:
        """Yield the metrics; ``prometheus_client`` calls this."""
        counts = self._store()
        yield _family(HUB_POSTS, {(status,): count for status, count in self._posts.items()})
        yield _family(HUB_SPANS, {("stored",): counts.stored, ("repeated",): counts.repeated})
        yield _family(TELEMETRY_DROPPED, {("spans", why): count for why, count in counts.lost.items()})
        yield _family(HUB_QUEUE, {(): counts.waiting})
        yield _family(HUB_FILES, {(): counts.file_count})
        yield _family(HUB_FILE_BYTES, {(): counts.file_bytes})
        yield _family(HUB_READINGS_LOST, {(): self._readings_lost()})
        yield _family(LOG_LINES, {(level,): count for level, count in dict(LOG.lines).items()})
        yield _family(LOG_SUPPRESSED, {(): LOG.suppressed})


def _family(metric: Metric, values: Mapping[Sequence[str], float]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels, unit=metric.unit)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family
