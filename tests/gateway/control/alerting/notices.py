"""Notices as tests of telling need them."""

from __future__ import annotations

from gateway.control.slo_kept import AlertKey, Notice

START_S = 1_800_000_000.0


def notice(name: str = "page fast", began_s: float = START_S, ended_s: float | None = None) -> Notice:
    labels = {
        "alertname": "PenstockBudgetBurns",
        "alert": name,
        "mesh": "demo",
        "model": "digits",
        "owner": "vision",
        "severity": name.split(" ")[0],
        "slo": "digits-availability",
        "tier": "fast",
    }
    annotations = {
        "summary": f"digits: digits-availability, {name}",
        "description": "1h burns 20x, 5m burns 20x, limit 14.4x",
        "runbook_url": "docs/runbooks/slo-page-fast.md",
    }
    return Notice(AlertKey("digits-availability", "digits", "page", name), labels, annotations, began_s, ended_s)
