"""Notices: how alerts are told to webhooks and Alertmanager, in labels and annotations of the Prometheus rules."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.slo_blame import Blame
from gateway.control.slo_kept import AlertKey, Notice
from gateway.control.slo_words import budget_text, burn_text, length, measured
from policies.snapshot.mesh import Mesh
from policies.snapshot.slos import Objective
from policies.units import duration_text, percent_text
from telemetry.conventions import GATEWAY_JOB
from telemetry.slo.alerts import EXHAUSTED_NAME, LIKELY_NAME, Alert, Tier, Verdict
from telemetry.slo.evaluate import Evaluation
from telemetry.slo.links import failed_page, pages_of, runbook, slo_page, trace_page, traces_page

_BURNS = "PenstockBudgetBurns"
_NAMES = {Tier.LIKELY: "PenstockBreachLikely", Tier.EXHAUSTED: "PenstockBudgetExhausted"}


def notice(
    mesh: Mesh, objective: Objective, key: AlertKey, alert: Alert, verdict: Verdict, found: Evaluation, began_s: float
) -> Notice:
    """Return the notice of an alert that fires."""
    labels = labels_of(mesh.name, key, alert.tier, objective.owner)
    told = {
        "summary": f"{key.model}: {key.slo}, {alert.name}",
        "description": "; ".join(measured(alert, verdict, found.remaining_ratio, found.exhaustion_s)),
        "objective": f"{percent_text(objective.target)} good in {duration_text(objective.period_s)}",
        "burn": burn_text(alert, verdict),
        "windows": f"{duration_text(alert.long_s)} and {duration_text(alert.short_s)}",
        "runbook_url": runbook(mesh.alerts.runbooks, alert.severity, alert.tier),
        **_pages(pages_of(mesh), objective, key.model),
    }
    if found.remaining_ratio is not None:
        told["budget_left"] = budget_text(found.remaining_ratio)
    if found.exhaustion_s:
        told["ends_in"] = length(found.exhaustion_s)
    return Notice(key, labels, told, began_s)


def _pages(pages: str, objective: Objective, model: str) -> dict[str, str]:
    if not pages:
        return {}
    traces = traces_page(pages, objective, model)
    return {"hub_url": slo_page(pages, objective.name, model), **({"traces_url": traces} if traces else {})}


def blamed(told: Notice, mesh: Mesh, blame: Blame) -> Notice:
    """Return a notice that says whom to look at first, as far as that is known."""
    more = dict(told.annotations)
    if blame.version:
        over = duration_text(blame.window_s)
        more["worst"] = f"version {blame.version} has {blame.bad} of {blame.of_all} bad events in {over}"
        more["description"] += f"; {more['worst']}"
    if blame.trace_id and (pages := pages_of(mesh)):
        more["trace_url"] = trace_page(pages, blame.trace_id)
        if blame.has_failed:  # of an objective on time, too: a list of slow requests would not have it
            more["traces_url"] = failed_page(pages, told.alert.model)
    return replace(told, annotations=more)


def notice_of_gone(mesh: Mesh, key: AlertKey, began_s: float) -> Notice:
    """Return the notice of an alert of which the policy knows no more than its name."""
    tier = _tier_by_name(key.name)
    told = {
        "summary": f"{key.model}: {key.slo}, {key.name}",
        "runbook_url": runbook(mesh.alerts.runbooks, key.severity, tier),
    }
    return Notice(key, labels_of(mesh.name, key, tier, ""), told, began_s)


def labels_of(mesh: str, key: AlertKey, tier: Tier, owner: str) -> dict[str, str]:
    """Return what tells an alert from all others, and by what it is routed."""
    # One rule has several burn rates, which this label tells apart.
    which = {} if tier in _NAMES else {"alert": key.name}
    return which | {
        "alertname": _NAMES.get(tier, _BURNS),
        "job": GATEWAY_JOB,
        "mesh": mesh,
        "model": key.model,
        "owner": owner,
        "severity": key.severity,
        "slo": key.slo,
        "tier": tier.value,
    }


def _tier_by_name(name: str) -> Tier:
    if name == LIKELY_NAME:
        return Tier.LIKELY
    if name == EXHAUSTED_NAME:
        return Tier.EXHAUSTED
    return Tier.FAST if name.endswith(" fast") else Tier.SLOW
