"""Families of metrics of the whole mesh, from the supervisor's counts, with TorchServe's names beside ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.metrics_core import UnknownMetricFamily
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from gateway.control.mesh_facts import MeshFacts
from gateway.control.messages import WAIT_EDGES_S, Waits
from gateway.control.pod_table import PodRecord
from gateway.control.policy_changes import OUTCOMES
from gateway.control.quota_metrics import quota_families
from gateway.control.request_totals import Durations, RequestTotals
from gateway.control.rollouts.metrics import rollout_families
from gateway.control.slo_engine import Judged, SloEngine, alert_key
from gateway.copies.messages import CopyCounts
from gateway.copies.reports import ShadowReport
from policies.units import duration_text
from telemetry.conventions import (
    ALERTS_SENT,
    CHARGED_BYTES,
    CHARGED_DEVICE_SECONDS,
    CHARGED_TOKENS,
    GENERATION,
    JWKS_STALE,
    LATE_LABELS,
    LIMIT_OBSERVED,
    LIMIT_REFUSED,
    LIMIT_ROWS,
    LINKS_OPEN,
    LOG_LINES,
    LOG_SUPPRESSED,
    POD_EJECTIONS,
    PODS,
    PODS_EJECTED,
    POLICY_REFUSED,
    POLICY_RELOADS,
    RECORDED,
    RECORDED_BYTES,
    REQUEST_DURATION_SECONDS,
    REQUEST_WAIT_SECONDS,
    REQUESTS,
    REQUESTS_WAITING,
    RETRIES,
    SAMPLE_BYTES,
    SAMPLES,
    SAMPLES_HIDDEN,
    SHADOW_COMPARED,
    SHADOW_NOT_COPIED,
    SLO_ALERT_FIRING,
    SLO_BUDGET_REMAINING,
    SLO_BURN_RATE,
    SLO_EVENTS,
    TELEMETRY_DROPPED,
    TS_BY_CLASS,
    TS_LATENCY,
    TS_REQUESTS,
    WORKER_LOOP_LAG_SECONDS,
    WORKER_RESTARTS,
    Metric,
)
from telemetry.slo.alerts import Firing, alerts_of

_GOOD_CLASS = "2xx"
_MICROSECONDS = 1_000_000


def mesh_families(engine: SloEngine, facts: MeshFacts, now_s: float) -> list[Family]:
    """Return every metric as of now."""
    return [
        *_request_families(engine.totals),
        *_cost_families(engine.totals),
        _counters(LIMIT_REFUSED, (((limit,), n) for limit, n in engine.limits.refused.items())),
        _counters(LIMIT_OBSERVED, (((limit,), n) for limit, n in engine.limits.observed.items())),
        _one(LIMIT_ROWS, facts.limit_rows),
        *_slo_families(engine, engine.judged_in_slot(now_s)),
        _counters(ALERTS_SENT, facts.alerts_sent.items()),
        _pods_family(facts.pods),
        _one(GENERATION, facts.generation),
        _one(POLICY_REFUSED, facts.is_refused),
        _counters(POLICY_RELOADS, (((outcome,), facts.reloads.get(outcome, 0)) for outcome in OUTCOMES)),
        _one(WORKER_RESTARTS, facts.worker_restarts),
        _by_worker(WORKER_LOOP_LAG_SECONDS, facts.loop_lag_s),
        _one(REQUESTS_WAITING, facts.waiting),
        _waits_family(facts.waits),
        _counters(RETRIES, (((outcome,), count) for outcome, count in facts.retries.items())),
        _by_worker(PODS_EJECTED, facts.ejected),
        _counters(POD_EJECTIONS, (((model,), count) for model, count in facts.ejections.items())),
        _by_worker(LINKS_OPEN, facts.links),
        *_shadow_families(facts.shadows),
        *_copies_families(facts.copies),
        _counters(TELEMETRY_DROPPED, facts.dropped.items()),
        _counters(LOG_LINES, (((level,), count) for level, count in facts.log_lines.items())),
        _counters(LOG_SUPPRESSED, [((), facts.log_suppressed)]),
        _jwks_family(facts.jwks_stale_s),
        *quota_families(facts.quotas),
        *rollout_families(facts.rollouts),
        *_torchserve_families(engine.totals, facts.host_name),
    ]


def _request_families(totals: RequestTotals) -> Iterator[Family]:
    kinds = totals.requests.items()
    yield _counters(REQUESTS, (((k.model, k.version, k.tenant, k.code_class, k.reason), n) for k, n in kinds))
    of = REQUEST_DURATION_SECONDS
    histograms = HistogramMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)
    for kind, durations in totals.durations.items():
        labels = (kind.model, kind.version, kind.code_class)
        histograms.add_metric(labels, _buckets(durations), durations.sum_s)
    yield histograms


def _waits_family(waits: Iterable[Waits]) -> Family:
    of = REQUEST_WAIT_SECONDS
    family = HistogramMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)
    edges = (*map(floatToGoString, WAIT_EDGES_S), "+Inf")
    for one in waits:
        family.add_metric((one.model, one.tier), list(zip(edges, accumulate(one.buckets), strict=True)), one.sum_s)
    return family


def _cost_families(totals: RequestTotals) -> Iterator[Family]:
    costs = [((kind.model, kind.version, kind.tenant), cost) for kind, cost in totals.charged.items()]
    yield _counters(CHARGED_DEVICE_SECONDS, ((labels, cost.device_us / _MICROSECONDS) for labels, cost in costs))
    yield _counters(CHARGED_BYTES, ((labels, cost.body_bytes) for labels, cost in costs))
    yield _counters(CHARGED_TOKENS, ((labels, cost.tokens) for labels, cost in costs))


def _buckets(durations: Durations) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    edges = (*map(floatToGoString, durations.edges_s), "+Inf")
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    for bucket, (edge, count) in enumerate(zip(edges, accumulate(durations.buckets), strict=True)):
        shown = durations.exemplars.get(bucket)
        if shown is None:
            buckets.append((edge, count))
        else:
            labels = {"trace_id": shown.trace_id}
            buckets.append((edge, count, Exemplar(labels, shown.duration_s, round(shown.at_s, 3))))
    return buckets


def _slo_families(engine: SloEngine, judged: list[Judged]) -> Iterator[Family]:
    yield _counters(
        SLO_EVENTS,
        (
            ((*series, outcome), getattr(total, outcome))
            for series, total in engine.counts.totals()
            if engine.is_shown(series.slo, series.model)
            for outcome in ("good", "bad", "ignored")
        ),
    )
    burning, remaining, firing = _gauge(SLO_BURN_RATE), _gauge(SLO_BUDGET_REMAINING), _gauge(SLO_ALERT_FIRING)
    for one in judged:
        slo, model, found = one.objective.name, one.model, one.evaluation
        if not engine.is_shown(slo, model):
            continue
        for burn in found.burn:
            burning.add_metric((slo, model, duration_text(burn.window_s)), burn.burn_rate)
        if found.remaining_ratio is not None:
            remaining.add_metric((slo, model), found.remaining_ratio)
        for alert in alerts_of(one.objective):
            state = engine.alerts.of(alert_key(one.objective, model, alert)).state
            firing.add_metric((slo, model, alert.severity, alert.name), state is Firing.FIRING)
    yield from (burning, remaining, firing)


def _pods_family(pods: Iterable[PodRecord]) -> Family:
    by_state = Counter((pod.place.model, pod.place.version, pod.state.value) for pod in pods)
    family = _gauge(PODS)
    for labels, count in by_state.items():
        family.add_metric(labels, count)
    return family


def _shadow_families(reports: Iterable[ShadowReport]) -> Iterator[Family]:
    compared: list[tuple[tuple[str, ...], float]] = []
    not_copied: list[tuple[tuple[str, ...], float]] = []
    for one in reports:
        shadow = (one.model, one.name)
        compared += [((*shadow, "same"), one.compared - one.differ), ((*shadow, "differs"), one.differ)]
        not_copied += [((*shadow, why), count) for why, count in one.not_copied.items()]
    yield _counters(SHADOW_COMPARED, compared)
    yield _counters(SHADOW_NOT_COPIED, not_copied)


def _copies_families(counts: CopyCounts) -> Iterator[Family]:
    yield _counters(LATE_LABELS, _by_outcome(counts.labels))
    yield _counters(RECORDED, _by_outcome(counts.recordings))
    kept = _gauge(RECORDED_BYTES)
    for model, kept_bytes in counts.recorded_bytes.items():
        kept.add_metric((model,), kept_bytes)
    yield kept
    yield _counters(SAMPLES, _by_outcome(counts.samples))
    yield _counters(SAMPLES_HIDDEN, _by_outcome(counts.hidden))
    sampled = _gauge(SAMPLE_BYTES)
    for model, kept_bytes in counts.sample_bytes.items():
        sampled.add_metric((model,), kept_bytes)
    yield sampled


def _by_outcome(counts: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[tuple[str, str], float]]:
    return (((model, outcome), count) for model, by in counts.items() for outcome, count in by.items())


def _jwks_family(stale_s: dict[str, float]) -> Family:
    family = _gauge(JWKS_STALE)
    for issuer, seconds in stale_s.items():
        family.add_metric((issuer,), seconds)
    return family


def _by_worker(of: Metric, values: Mapping[int, float]) -> Family:
    family = _gauge(of)
    for index, value in values.items():
        family.add_metric((str(index),), value)
    return family


def _torchserve_families(totals: RequestTotals, host_name: str) -> Iterator[Family]:
    requests: Counter[tuple[str, str]] = Counter()
    latencies_us: Counter[tuple[str, str]] = Counter()
    for kind, durations in totals.durations.items():
        if kind.version:
            version = (kind.model, kind.version)
            requests[version] += durations.count
            # As TorchServe counts: requests that failed have no latency.
            latencies_us[version] += round(durations.sum_s * _MICROSECONDS) if kind.code_class == _GOOD_CLASS else 0
    for name, counts in ((TS_REQUESTS, requests), (TS_LATENCY, latencies_us)):
        family = _torchserve(name, ("model_name", "model_version", "hostname"))
        for version, count in counts.items():
            family.add_metric((*version, host_name), count)
        yield family
    for code_class, name in TS_BY_CLASS.items():
        family = _torchserve(name, ("Level", "Hostname"))
        family.add_metric(("Host", host_name), totals.by_class.get(code_class, 0))
        yield family


def _torchserve(name: str, labels: tuple[str, ...]) -> UnknownMetricFamily:
    """Return a family of TorchServe's name as it is; as a counter it would have ``_total`` at its end."""
    return UnknownMetricFamily(name, "TorchServe's name for a count that this mesh keeps too.", labels=labels)


def _counters(of: Metric, counts: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    family = CounterMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)
    for labels, count in counts:
        family.add_metric(labels, count)
    return family


def _gauge(of: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(of.name, of.meaning, labels=of.labels, unit=of.unit)


def _one(of: Metric, value: int) -> Family:
    kind = CounterMetricFamily if of.kind == "counter" else GaugeMetricFamily
    return kind(of.name, of.meaning, value=value)
