"""Families of metrics of quotas: the fullest ones, as many as Prometheus can bear."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from gateway.control.quota_view import Standing
from telemetry.conventions import QUOTA_LIMIT, QUOTA_USED, QUOTA_USED_RATIO

# Three series each. Whoever has more quotas reads the rest from the management API.
SHOWN_QUOTAS = 1_000
_MICROSECONDS = 1_000_000


def quota_families(standings: Sequence[Standing]) -> list[Family]:
    """Return the metrics of the fullest quotas."""
    ratio, limit, used = (
        GaugeMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)
        for of in (QUOTA_USED_RATIO, QUOTA_LIMIT, QUOTA_USED)
    )
    for one in shown(standings):
        labels = (one.tenant, one.quota.name)
        now_used = one.used or 0
        ratio.add_metric(labels, now_used / max(1, one.limit))
        in_unit = _MICROSECONDS if one.quota.meter == "device_time" else 1
        limit.add_metric((*labels, one.quota.meter), one.limit / in_unit)
        used.add_metric((*labels, one.quota.meter), now_used / in_unit)
    return [ratio, limit, used]


def shown(standings: Sequence[Standing]) -> list[Standing]:
    """Return the fullest of those that the ledger has been asked for."""
    known = [one for one in standings if one.used is not None]
    fullest = sorted(known, key=lambda one: (one.used or 0) / max(1, one.limit), reverse=True)[:SHOWN_QUOTAS]
    return sorted(fullest, key=lambda one: (one.tenant, one.quota.name))
