"""Prometheus' own parsers read back what the mesh shows."""

from __future__ import annotations

from msgspec.structs import replace
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from gateway.control.desired import PodPlace
from gateway.control.exposition import expose
from gateway.control.mesh_facts import MeshFacts
from gateway.control.mesh_metrics import mesh_families
from gateway.control.messages import LimitUses, Waits
from gateway.control.pod_table import PodRecord
from gateway.control.quota_view import Standing
from gateway.control.rollout_reports import RolloutReport
from gateway.control.series_room import MAX_SERIES
from gateway.control.slo_engine import SloEngine
from gateway.copies.messages import CopyCounts
from gateway.decide.rollouts.progress import RolloutState
from gateway.decide.rollouts.verdict import ArmSeen, Says, Verdict
from model_pod.wire.status import PodState
from policies.snapshot.tenant import Quota
from telemetry.conventions import MESH_METRICS
from tests.gateway.control.objectives import (
    AVAILABILITY,
    LATENCY,
    ROUTE,
    SNAPSHOT,
    START_S,
    engine,
    events,
    requests,
    tally,
)
from tests.gateway.copies.shadow_reports import DIFFERS

OPENMETRICS = "application/openmetrics-text"
TRACE = "c" * 32
NOW_S = START_S + 10.0
FACTS = MeshFacts(
    generation=7,
    worker_restarts=2,
    pods=(
        PodRecord(PodPlace("digits/1/0", "digits", "1", "unix:/p", None), PodState.READY),
        PodRecord(PodPlace("digits/1/1", "digits", "1", "unix:/q", None), PodState.READY),
    ),
    dropped={("records", "ring_full"): 4},
    host_name="here",
    alerts_sent={("webhook/hooks.example", "ok"): 3},
    jwks_stale_s={"corp": 0.0},
    limit_rows=9,
    loop_lag_s={0: 0.25},
    waiting=12,
    retries={"sent": 5, "no_budget": 2},
    ejected={0: 1, 1: 0},
    waits=(Waits("digits", "gold", (1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1), 40.5),),
    ejections={"digits": 3},
    links={0: 2, 1: 1},
    log_lines={"info": 3},
    shadows=(DIFFERS,),
    copies=CopyCounts(
        {},
        {"digits": {"right": 5, "wrong": 2}},
        {"digits": 4096},
        {"digits": {"recorded": 9}},
        {"digits": {"kept": 3}},
        {"digits": 2048},
        {"digits": {"email": 1}},
    ),
    rollouts=(
        RolloutReport(
            model="digits",
            canary="first",
            version="2",
            stable="1",
            owner="vision",
            generation=7,
            state=RolloutState.PAUSED,
            revision=4,
            step=1,
            steps=(),
            share=0.25,
            target_share=0.25,
            since_s=START_S,
            waiting_for=(),
            next_s=None,
            because="",
            verdict=Verdict(
                *("digits", "first", 7, 1, 0.25, START_S, Says.UNDECIDED, "", ArmSeen("1"), ArmSeen("2")),
                *(4.5, 0.5, 20.0, 300.0, 90),
            ),
            transitions=(),
        ),
    ),
    quotas=(Standing("demo", Quota("day", "requests", 100, "calendar-day"), 100, 25, 0, 0.0, 0.0),),
)


def counted() -> SloEngine:
    slos = engine()
    told = tally(START_S, events(97, 3), requests(97, trace=TRACE), requests(3, 503), requests(1, 404))
    slos.take(1, told, START_S)
    slos.limits.add(LimitUses({"gold": 3}, {"trial": 8}), START_S)
    slos.judge_alerts(NOW_S)
    return slos


def samples(accept: str = "", slos: SloEngine | None = None) -> list[Sample]:
    _, body = expose(mesh_families(slos or counted(), FACTS, NOW_S), accept)
    parse = parse_openmetrics if accept else parse_text
    return [sample for family in parse(body.decode()) for sample in family.samples]


def value(name: str, accept: str = "", **labels: str) -> float:
    """Return the one sample that has this name and these labels among its own."""
    found = [s.value for s in samples(accept) if s.name == name and labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_every_metric_of_the_conventions_is_shown_and_has_their_labels() -> None:
    shown = {sample.name: sample for sample in samples(OPENMETRICS)}
    for metric in MESH_METRICS:
        sample = shown[metric.name + ("_bucket" if metric.kind == "histogram" else "")]
        assert sample.labels.keys() - {"le"} == set(metric.labels)


def test_both_formats_say_the_same() -> None:
    plain = [(s.name, s.labels, s.value) for s in samples()]
    assert plain == [(s.name, s.labels, s.value) for s in samples(OPENMETRICS)]


def test_requests_durations_and_objectives_are_what_was_counted() -> None:
    assert value("penstock_requests_total", code_class="5xx") == 3
    assert value("penstock_request_duration_seconds_count", code_class="2xx") == 97
    assert value("penstock_request_duration_seconds_sum", code_class="2xx") == 97 / 4
    # The tally's edges were 0.1 and 1 s: above the first and the objective's own, not above the second.
    for edge, count in (("0.1", 0), (str(LATENCY.within_s), 0), ("1.0", 97), ("+Inf", 97)):
        assert value("penstock_request_duration_seconds_bucket", code_class="2xx", le=edge) == count
    assert value("penstock_slo_events_total", slo="digits-availability", version="1", outcome="bad") == 3
    assert round(value("penstock_slo_burn_rate", slo="digits-availability", window="5m"), 6) == 30
    assert value("penstock_slo_alert_firing", alert="page 1h", severity="page") == 1
    assert value("penstock_pods", model="digits", version="1", state="ready") == 2
    assert value("penstock_generation") == 7
    assert value("penstock_requests_waiting") == 12
    assert value("penstock_retries_total", outcome="sent") == 5
    assert value("penstock_retries_total", outcome="no_budget") == 2
    assert value("penstock_pods_ejected", worker="0") == 1
    assert value("penstock_telemetry_dropped_total", what="records", why="ring_full") == 4


def test_a_rollout_is_shown_by_its_shares_its_state_and_its_evidence() -> None:
    assert value("penstock_rollout_share_ratio", model="digits", version="2") == 0.25
    assert value("penstock_rollout_share_ratio", model="digits", version="1") == 0.75
    assert value("penstock_rollout_state", model="digits", state="paused") == 1
    assert value("penstock_rollout_state", model="digits", state="rolled back") == 0
    assert value("penstock_rollout_e_value", model="digits", claim="harm") == 4.5
    assert value("penstock_rollout_e_value", model="digits", claim="within_budget") == 20


def test_costs_and_limits_are_what_was_told() -> None:
    of_whom = {"model": "digits", "version": "1", "tenant": "demo"}
    assert value("penstock_charged_device_seconds_total", **of_whom) == 101 * 0.002
    assert value("penstock_charged_bytes_total", **of_whom) == 101 * 300
    assert value("penstock_charged_tokens_total", **of_whom) == 101 * 5
    assert value("penstock_limit_refused_total", limit="gold") == 3
    assert value("penstock_limit_observed_total", limit="trial") == 8
    assert value("penstock_limit_rows") == 9


def test_what_the_copies_process_counts_is_shown() -> None:
    assert value("penstock_shadow_compared_total", shadow="dark", verdict="differs") == DIFFERS.differ
    assert value("penstock_shadow_not_copied_total", shadow="dark", why="busy") == 12
    assert value("penstock_late_labels_total", model="digits", outcome="wrong") == 2
    assert value("penstock_recorded_requests_total", model="digits", outcome="recorded") == 9
    assert value("penstock_recorded_bytes", model="digits") == 4096
    assert value("penstock_samples_total", model="digits", outcome="kept") == 3
    assert value("penstock_samples_hidden_total", model="digits", rule="email") == 1
    assert value("penstock_sample_bytes", model="digits") == 2048


def test_an_objective_without_events_has_counts_of_0_and_no_budget() -> None:
    for outcome in ("good", "bad", "ignored"):
        assert value("penstock_slo_events_total", slo="digits-latency", outcome=outcome) == 0
    budgets = [s.labels["slo"] for s in samples() if s.name == "penstock_slo_error_budget_remaining_ratio"]
    assert budgets == ["digits-availability"]


def test_an_exemplar_is_in_the_bucket_of_its_duration() -> None:
    ((sample, exemplar),) = [(s, s.exemplar) for s in samples(OPENMETRICS) if s.exemplar is not None]
    assert (sample.labels["le"], exemplar.labels, exemplar.value) == ("0.25", {"trace_id": TRACE}, 0.25)


def test_torchserve_s_names_are_exact() -> None:
    of_model = {"model_name": "digits", "model_version": "1", "hostname": "here"}
    assert value("ts_inference_requests_total", **of_model) == 101
    assert value("ts_inference_latency_microseconds", **of_model) == 97 * 250_000
    for name, count in (("Requests2XX", 97), ("Requests4XX", 1), ("Requests5XX", 3)):
        assert value(name, Level="Host", Hostname="here") == count
    assert "ts_inference_requests_total" in {sample.name for sample in samples(OPENMETRICS)}


def test_objectives_are_shown_as_far_as_there_is_room() -> None:
    routes = {f"m{number}": replace(ROUTE, model=f"m{number}", slo=(AVAILABILITY.name,)) for number in range(1500)}
    slos = engine(replace(SNAPSHOT, routes=routes, objectives={AVAILABILITY.name: AVAILABILITY}))
    shown = [sample for sample in samples(slos=slos) if sample.name.startswith("penstock_slo_")]
    models = {sample.labels["model"] for sample in shown}
    assert models == set(list(routes)[: len(models)])
    assert 9_000 <= len(shown) <= MAX_SERIES


def test_a_mesh_that_has_counted_nothing_can_be_read() -> None:
    names = {sample.name for sample in samples(OPENMETRICS, engine())}
    assert {"penstock_slo_events_total", "penstock_slo_alert_firing", "Requests5XX"} <= names


def test_waits_ejections_and_links_are_shown_as_workers_told_them() -> None:
    of = {"model": "digits", "tier": "gold"}
    assert value("penstock_request_wait_seconds_bucket", le="0.02", **of) == 3.0
    assert value("penstock_request_wait_seconds_bucket", le="30.0", **of) == 3.0
    assert value("penstock_request_wait_seconds_count", **of) == 4.0
    assert value("penstock_request_wait_seconds_sum", **of) == 40.5
    assert value("penstock_pod_ejections_total", model="digits") == 3.0
    assert value("penstock_links_open", worker="0") == 2.0
