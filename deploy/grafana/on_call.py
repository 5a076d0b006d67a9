"""The dashboard for whoever was woken: what fires, what callers get, and which part of the mesh is to blame."""

from __future__ import annotations

from typing import Final

from deploy.grafana.dashboard import Dashboard, mean, of, quantile, rate, recorded
from deploy.grafana.machine import MACHINE
from deploy.grafana.panels import Ask, Panel, Row, Step
from deploy.prometheus.series import BURN, EXHAUSTION, REMAINING
from telemetry.conventions import (
    INFERENCE_RESTARTS,
    LIMIT_REFUSED,
    PODS,
    PODS_EJECTED,
    QUEUE_WAIT_SECONDS,
    REQUEST_DURATION_SECONDS,
    REQUEST_WAIT_SECONDS,
    REQUESTS,
    REQUESTS_WAITING,
    RETRIES,
    STAGE_DURATION_SECONDS,
    TELEMETRY_DROPPED,
    WORKER_LOOP_LAG_SECONDS,
    WORKER_RESTARTS,
)

_LIMITS: Final = (Step("green"), Step("yellow", 1.0), Step("orange", 6.0), Step("red", 14.4))

_FAILED: Final = rate(of(REQUESTS, 'code_class="5xx"'))

_ALERTS: Final = Row(
    "Alerts",
    (
        Panel(
            "Firing",
            "Alerts that fire now; their annotations have a runbook each.",
            "table",
            "short",
            (
                Ask(
                    "sum by (severity, alertname, alert, slo, model, version, instance) "
                    '(ALERTS{alertstate="firing", job=~"$job"})',
                    "firing",
                    is_instant=True,
                ),
            ),
            width=16,
        ),
        Panel(
            "Budget ends in",
            "Until it is spent if bad events go on as over the shortest long window; nothing while they do not.",
            "bargauge",
            "s",
            (Ask(f"min by (slo, model) ({recorded(EXHAUSTION)})", "{{model}} {{slo}}"),),
            width=8,
            steps=(Step("red"), Step("orange", 86_400.0), Step("green", 604_800.0)),
        ),
        Panel(
            "Burn rates",
            "How many times faster than allowed each window burns the error budget; the lines are the usual limits.",
            "timeseries",
            "short",
            (Ask(f"max by (slo, model, window) ({recorded(BURN)})", "{{model}} {{slo}} {{window}}"),),
            width=16,
            height=9,
            min_value=0.0,
            steps=_LIMITS,
        ),
        Panel(
            "Budget left",
            "Of each objective's period; below zero more was spent than is allowed.",
            "bargauge",
            "percentunit",
            (Ask(f"min by (slo, model) ({recorded(REMAINING)})", "{{model}} {{slo}}"),),
            width=8,
            height=9,
            steps=(Step("red"), Step("orange", 0.0), Step("green", 0.25)),
        ),
    ),
)

_CALLERS: Final = Row(
    "What callers get",
    (
        Panel(
            "Requests",
            "Settled requests, refused ones included, by model.",
            "timeseries",
            "reqps",
            (Ask(f"sum by (model) ({rate(of(REQUESTS))})", "{{model}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Failures by reason",
            "Answers with a status of 500 or above; docs/reference/reasons.md says whose turn each is.",
            "timeseries",
            "reqps",
            (
                Ask(
                    f"sum by (model, reason) ({_FAILED}) > 0",
                    "{{model}} {{reason}}",
                ),
            ),
            width=8,
            is_stacked=True,
            min_value=0.0,
        ),
        Panel(
            "Time to the last byte",
            "Of answers that were given; dots are traces that were kept.",
            "timeseries",
            "s",
            tuple(
                Ask(quantile(share, REQUEST_DURATION_SECONDS, "model", 'code_class="2xx"'), f"{{{{model}}}} {name}")
                for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
            ),
            width=8,
            min_value=0.0,
        ),
    ),
)

_PODS: Final = Row(
    "Pods",
    (
        Panel(
            "Pods by state",
            "As the gateway sees them; whatever is not ready takes no requests.",
            "timeseries",
            "short",
            (Ask(f"sum by (model, version, state) ({of(PODS)})", "{{model}}/{{version}} {{state}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Inference processes restarted",
            "By model and version; also after running out of memory.",
            "timeseries",
            "short",
            (
                Ask(
                    f"sum by (model, version) (increase({of(INFERENCE_RESTARTS)}[$__rate_interval]))",
                    "{{model}}/{{version}}",
                ),
            ),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Left out for failing",
            "Ready pods that a worker sends nothing because they failed its requests.",
            "timeseries",
            "short",
            (Ask(f"max by (instance, worker) ({of(PODS_EJECTED)})", "{{instance}} worker {{worker}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Waiting and working",
            "The mean time that a row waits for its batch, and that a batch takes in each stage, upon each other.",
            "timeseries",
            "s",
            (
                Ask(mean(QUEUE_WAIT_SECONDS, "model"), "{{model}} queue"),
                Ask(mean(STAGE_DURATION_SECONDS, "model, stage"), "{{model}} {{stage}}"),
            ),
            width=12,
            is_stacked=True,
            min_value=0.0,
        ),
        Panel(
            "Waiting for a pod with room",
            "How long requests waited in the gateway that found the pods busy.",
            "timeseries",
            "s",
            (Ask(quantile(0.99, REQUEST_WAIT_SECONDS, "model"), "{{model}} p99"),),
            width=12,
            min_value=0.0,
        ),
    ),
)

_MESH: Final = Row(
    "The mesh itself",
    (
        Panel(
            "Requests that wait",
            "In the gateway, for a pod to have room.",
            "timeseries",
            "short",
            (Ask(f"sum by (instance) ({of(REQUESTS_WAITING)})", "{{instance}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Refused by limits",
            "By the limit or quota that refused.",
            "timeseries",
            "reqps",
            (Ask(f"sum by (limit) ({rate(of(LIMIT_REFUSED))}) > 0", "{{limit}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Tried again",
            "Requests that a pod failed: sent to another one, or not for want of budget.",
            "timeseries",
            "reqps",
            (Ask(f"sum by (outcome) ({rate(of(RETRIES))})", "{{outcome}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Lag of workers",
            "By how much a worker's loop was late at worst within a second.",
            "timeseries",
            "s",
            (Ask(f"max by (instance, worker) ({of(WORKER_LOOP_LAG_SECONDS)})", "{{instance}} worker {{worker}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Workers replaced",
            "Gateway workers that died or were replaced.",
            "timeseries",
            "short",
            (Ask(f"sum by (instance) (increase({of(WORKER_RESTARTS)}[$__rate_interval]))", "{{instance}}"),),
            width=8,
            min_value=0.0,
        ),
        Panel(
            "Telemetry dropped",
            "What was not counted or not told, and why; requests do not notice.",
            "timeseries",
            "short",
            (
                Ask(
                    f"sum by (job, what, why) (increase({of(TELEMETRY_DROPPED)}[$__rate_interval])) > 0",
                    "{{job}} {{what}} {{why}}",
                ),
            ),
            width=8,
            min_value=0.0,
        ),
    ),
)

ON_CALL: Final = Dashboard(
    "penstock-on-call",
    "Penstock: on call",
    "What fires, what callers get, and which part is to blame.",
    (_ALERTS, _CALLERS, _PODS, _MESH, MACHINE),
    refresh="10s",
    since="now-3h",
)
