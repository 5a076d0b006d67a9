"""Writes families of metrics in Prometheus' text format, or in OpenMetrics for those who accept it."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family

_OPENMETRICS = "application/openmetrics-text"


class _Collected:
    """Families as ``prometheus_client`` takes them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def expose(families: Iterable[Family], accept: str) -> tuple[str, bytes]:
    """Return the content type and the body.

    Args:
        accept: the reader's ``Accept`` field, "" when there is none.
    """
    # One form of each format: a version or an escaping that a reader asks for beside it changes nothing of ours.
    accepted = {item.partition(";")[0].strip().lower() for item in accept.split(",")}
    encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in accepted else "")
    return content_type, encode(_Collected(families))
