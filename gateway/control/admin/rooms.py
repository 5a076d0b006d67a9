"""The rooms of the management API: one router for each thing that is managed."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.control.admin import (
    audit_routes,
    cost_routes,
    explain_routes,
    key_routes,
    mesh_routes,
    policy_routes,
    quota_routes,
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
        key_routes.router(managed.keys),
        quota_routes.router(managed.quotas),
        slo_routes.router(view.slo, view.slo_history),
        worker_routes.router(managed.workers),
    ]
