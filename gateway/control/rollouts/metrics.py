"""Families of metrics of rollouts: a few series of each canary that policy has."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from gateway.control.rollout_reports import RolloutReport
from gateway.decide.rollouts.progress import RolloutState
from telemetry.conventions import ROLLOUT_E_VALUE, ROLLOUT_SHARE, ROLLOUT_STATE

# Ten series each. Whoever has more canaries reads the rest from the management API.
SHOWN_ROLLOUTS = 500


def rollout_families(rollouts: Iterable[RolloutReport]) -> list[Family]:
    """Return the metrics of rollouts, by model."""
    share, state, e_value = (
        GaugeMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)
        for of in (ROLLOUT_SHARE, ROLLOUT_STATE, ROLLOUT_E_VALUE)
    )
    for one in sorted(rollouts, key=lambda report: report.model)[:SHOWN_ROLLOUTS]:
        share.add_metric((one.model, one.version), one.share)
        share.add_metric((one.model, one.stable), 1.0 - one.share)
        for name in RolloutState:
            state.add_metric((one.model, name.value), one.state is name)
        if one.verdict is not None:
            claims = {"harm": one.verdict.harm, "safe": one.verdict.safe, "within_budget": one.verdict.within_budget}
            for claim, value in claims.items():
                e_value.add_metric((one.model, claim), value)
    return [share, state, e_value]
