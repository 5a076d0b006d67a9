"""Writes objectives as OpenSLO v1 has them: for tools that read it, and for whoever moves elsewhere.

An alert policy of OpenSLO holds one condition with one window. So each pair of windows is a policy of its own, and the
short window is told in an annotation.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from deploy.prometheus.documents import Data, written
from policies.snapshot.generation import Snapshot, objectives_by_model
from policies.snapshot.slos import Objective
from policies.units import duration_text
from telemetry.conventions import SLO_EVENTS
from telemetry.slo.alerts import Alert, Tier, alerts_of
from telemetry.slo.wording import good_when

OPENSLO_FILE: Final = "openslo.yaml"
_VERSION: Final = "openslo/v1"
_SOURCE: Final = "penstock-prometheus"
_LONGEST_NAME: Final = 63
SHORT_WINDOW: Final = "penstock/short-window"


def openslo(snapshot: Snapshot) -> str:
    """Return a service for each model, its objectives, and a policy and condition for each alert."""
    documents: list[Data] = [_document("DataSource", _SOURCE, {"type": "Prometheus"})]
    told: set[str] = set()
    for model, objectives in objectives_by_model(snapshot).items():
        documents.append(_document("Service", _name(model), {"description": f"The model {model}."}))
        for objective in objectives:
            documents.append(_slo(model, objective))
            if objective.name not in told:
                documents += _policies(objective)
                told.add(objective.name)
    return written(*documents, about="Written by `penstock slo export openslo` from slos.yaml.")


def _slo(model: str, objective: Objective) -> Data:
    name = _name(f"{model}-{objective.name}")
    return _document(
        "SLO",
        name,
        {
            "description": f"{good_when(objective)} Answers for it: {objective.owner}.",
            "service": _name(model),
            "indicator": {
                "metadata": {"name": name},
                "spec": {
                    "ratioMetric": {
                        "counter": True,
                        "bad": _counter(model, objective, 'outcome="bad"'),
                        "total": _counter(model, objective, 'outcome=~"good|bad"'),
                    }
                },
            },
            "timeWindow": [{"duration": _window(objective.period_s), "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": objective.name, "target": objective.target}],
            "alertPolicies": [_policy_name(objective, alert) for alert in _burn_alerts(objective)],
        },
    )


def _counter(model: str, objective: Objective, outcome: str) -> Data:
    query = f'sum({SLO_EVENTS.name}{{slo="{objective.name}", model="{model}", {outcome}}})'
    return {"metricSource": {"metricSourceRef": _SOURCE, "type": "Prometheus", "spec": {"query": query}}}


def _policies(objective: Objective) -> list[Data]:
    documents: list[Data] = []
    for alert in _burn_alerts(objective):
        name = _policy_name(objective, alert)
        documents.append(
            _document(
                "AlertCondition",
                name,
                {
                    "severity": alert.severity,
                    "condition": {
                        "kind": "burnrate",
                        "op": "gt",
                        "threshold": alert.factor,
                        "lookbackWindow": _window(alert.long_s),
                        "alertAfter": "0m",
                    },
                },
                {SHORT_WINDOW: duration_text(alert.short_s)},
            )
        )
        conditions = [{"conditionRef": name}]
        documents.append(
            _document(
                "AlertPolicy",
                name,
                {
                    "description": f"{alert.name} of {objective.name}, {alert.tier.value}",
                    "alertWhenBreaching": True,
                    "alertWhenResolved": True,
                    "alertWhenNoData": False,
                    "conditions": conditions,
                    "notificationTargets": [],
                },
                {SHORT_WINDOW: duration_text(alert.short_s)},
            )
        )
    return documents


def _burn_alerts(objective: Objective) -> list[Alert]:
    """Return those that OpenSLO can say: of a budget's end it knows nothing."""
    return [alert for alert in alerts_of(objective) if alert.tier in (Tier.FAST, Tier.SLOW)]


def _policy_name(objective: Objective, alert: Alert) -> str:
    return _name(f"{objective.name}-{alert.name}")


def _name(text: str) -> str:
    """Return a name as OpenSLO takes it (RFC 1123); one that had to change ends in a digest of what it was."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower().replace(" ", "-")).strip("-")
    if plain == text.replace(" ", "-") and len(plain) <= _LONGEST_NAME:
        return plain
    return f"{plain[: _LONGEST_NAME - 9]}-{sha256(text.encode()).hexdigest()[:8]}"


def _window(length_s: float) -> str:
    """Return a length as OpenSLO writes it, in whole minutes at least: it knows no seconds."""
    text = duration_text(length_s)
    return text if text[-1] in "mhd" and text[-2:] != "ms" else f"{max(1, round(length_s / 60))}m"


def _document(kind: str, name: str, spec: Data, annotations: dict[str, str] | None = None) -> Data:
    metadata: Data = {"name": name, **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": _VERSION, "kind": kind, "metadata": metadata, "spec": spec}
