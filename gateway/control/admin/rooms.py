"""The rooms of the management API: one router for each thing that is managed."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.control.admin import (
    audit_routes,
    cost_routes,
    drift_routes,
    explain_routes,
    key_routes,
    log_routes,
    mesh_routes,
    policy_routes,
    quota_routes,
    rollout_routes,
    sample_routes,
    shadow_routes,
    slo_routes,
    worker_routes,
)
from gateway.control.managed import Managed


def rooms(managed: Managed) -> list[APIRouter]:
    """Return every room."""
    view = managed.view
    return [
        policy_routes.router(view.policy),
        explain_routes.router(managed.past),
        mesh_routes.router(view.pods, view.status),
        audit_routes.router(managed.audit),
        cost_routes.router(managed.costs),
        drift_routes.router(managed.drift),
        key_routes.router(managed.keys),
        log_routes.router(managed.logs),
        quota_routes.router(managed.quotas),
        rollout_routes.router(managed.rollouts),
        sample_routes.router(managed.samples),
        shadow_routes.router(managed.shadows),
        slo_routes.router(view.slo, view.slo_history, view.slo_slots, view.alerts, view.activity),
        worker_routes.router(managed.workers),
    ]
