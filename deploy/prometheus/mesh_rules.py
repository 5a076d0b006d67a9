"""Alerts that no objective knows of: what is gone, what restarts, what was refused, and what is not told any more."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from deploy.prometheus.rule import Alert, Group, Places
from telemetry.conventions import (
    GATEWAY_JOB,
    INFERENCE_RESTARTS,
    PODS,
    POLICY_REFUSED,
    REQUESTS,
    ROLLOUT_STATE,
    TELEMETRY_DROPPED,
    WORKER_RESTARTS,
)

SIDECARS_JOB: Final = "penstock-sidecars"
HUB_JOB: Final = "penstock-hub"

GATEWAY_DOWN: Final = "PenstockGatewayDown"
NO_POD: Final = "PenstockModelWithoutPod"
POD_DOWN: Final = "PenstockPodDown"
POD_RESTARTS: Final = "PenstockPodRestarts"

_KEPT: Final = "cluster, namespace, job"


def mesh_group(places: Places) -> Group:
    """Return the alerts of a mesh."""
    alerts = (*_gateway(places), *_pods(places), *_policy(places), *_telemetry(places))
    pages = {"hub_url": places.hub}
    named = (
        replace(one, labels=one.labels | {"mesh": places.mesh}, annotations=one.annotations | pages) for one in alerts
    )
    return Group("penstock-mesh", "30s", tuple(named))


def _gateway(places: Places) -> list[Alert]:
    up = f'up{{job="{GATEWAY_JOB}"}}'
    restarts = f"sum by ({_KEPT}) (increase({WORKER_RESTARTS.name}[10m])) > 3"
    return [
        _alert(
            GATEWAY_DOWN,
            f"{up} == 0 or absent({up})",
            ("page", "1m"),
            "The gateway answers Prometheus no more",
            "Of {{ $labels.job }} {{ $labels.instance }} nothing is read: while it is away no other alert of it fires.",
            f"{places.runbooks}/gateway-down.md",
        ),
        _alert(
            "PenstockWorkersRestart",
            restarts,
            ("ticket", "1m"),
            "Gateway workers die again and again",
            "{{ $value | humanize }} were replaced in ten minutes.",
            f"{places.runbooks}/gateway-down.md",
        ),
    ]


def _pods(places: Places) -> list[Alert]:
    runbook = f"{places.runbooks}/pod-down.md"
    of_model = f"sum by ({_KEPT}, model)"
    none_ready = f'{of_model} ({PODS.name}) unless {of_model} ({PODS.name}{{state="ready"}}) > 0'
    restarts = f"sum by ({_KEPT}, model, version) (increase({INFERENCE_RESTARTS.name}[15m])) > 3"
    return [
        _alert(
            NO_POD,
            none_ready,
            ("page", "2m"),
            "{{ $labels.model }} has no pod that is ready",
            "None of its {{ $value }} pods is ready: every request for it is refused.",
            runbook,
        ),
        _alert(
            POD_DOWN,
            f'sum by ({_KEPT}, model, version) ({PODS.name}{{state!~"ready|draining"}}) > 0',
            ("ticket", "5m"),
            "Pods of {{ $labels.model }}/{{ $labels.version }} are not ready",
            "{{ $value }} of them start, restart or failed for five minutes.",
            runbook,
        ),
        _alert(
            POD_RESTARTS,
            restarts,
            ("ticket", "1m"),
            "{{ $labels.model }}/{{ $labels.version }} restarts again and again",
            "Its inference processes were started {{ $value | humanize }} times in 15 minutes.",
            runbook,
        ),
    ]


def _policy(places: Places) -> list[Alert]:
    rolled_back = f'{ROLLOUT_STATE.name}{{state="rolled back"}} == 1'
    unavailable = f'{REQUESTS.name}{{reason=~"ledger_unavailable|quota_pending"}}'
    return [
        _alert(
            "PenstockPolicyRefused",
            f"{POLICY_REFUSED.name} == 1",
            ("ticket", "5m"),
            "The policy files are refused",
            "An earlier generation stays in force; what was changed since then is not.",
            f"{places.runbooks}/policy-rejected.md",
        ),
        _alert(
            "PenstockCanaryRolledBack",
            f'{rolled_back} unless {ROLLOUT_STATE.name}{{state="rolled back"}} offset 1h == 1',
            ("ticket", ""),
            "The canary of {{ $labels.model }} was rolled back",
            "Within the last hour; nobody is sent to it any more. This ends by itself an hour after it happened.",
            f"{places.runbooks}/canary-rolled-back.md",
        ),
        _alert(
            "PenstockQuotaLedger",
            f"sum by ({_KEPT}) (increase({unavailable}[5m])) > 0",
            ("ticket", "1m"),
            "Requests are refused because quotas cannot be asked for",
            "{{ $value | humanize }} in five minutes.",
            f"{places.runbooks}/quota-ledger.md",
        ),
    ]


def _telemetry(places: Places) -> list[Alert]:
    runbook = f"{places.runbooks}/telemetry-drops.md"
    down = f'up{{job=~"{SIDECARS_JOB}|{HUB_JOB}"}} == 0'
    return [
        _alert(
            "PenstockTelemetryDown",
            down,
            ("ticket", "5m"),
            "{{ $labels.job }} {{ $labels.instance }} answers Prometheus no more",
            "Requests do not notice; traces are lost meanwhile, and what it alone counts.",
            runbook,
        ),
        _alert(
            "PenstockTelemetryDrops",
            f"sum by ({_KEPT}, what, why) (increase({TELEMETRY_DROPPED.name}[10m])) > 0",
            ("ticket", "5m"),
            "Telemetry is dropped: {{ $labels.what }}, {{ $labels.why }}",
            "{{ $value | humanize }} in ten minutes by {{ $labels.job }}. Requests do not notice.",
            runbook,
        ),
    ]


def _alert(name: str, expr: str, urgency: tuple[str, str], summary: str, description: str, runbook: str) -> Alert:
    severity, wait = urgency
    texts = {"summary": summary, "description": description, "runbook_url": runbook}
    return Alert(name, expr, {"severity": severity}, texts, wait)
