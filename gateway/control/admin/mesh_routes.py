"""``/admin/pods`` and ``/admin/status``: what runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter

from gateway.control.admin.permissions import needs
from gateway.control.reports import PodsReport, StatusReport
from gateway.decide.authorization import Actor


def router(pods_report: Callable[[], PodsReport], status_report: Callable[[], StatusReport]) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/pods", summary="Every pod: what should run, and what its last probe found")
    async def pods(actor: Annotated[Actor, needs("pod.read", per_model=True)]) -> PodsReport:
        report = pods_report()
        return replace(
            report,
            pods=[pod for pod in report.pods if actor.allows("pod.read", pod.model)],
            stable_versions=[one for one in report.stable_versions if actor.allows("pod.read", one.model)],
        )

    @room.get("/admin/status", summary="The whole mesh at a glance", dependencies=[needs("status.read")])
    async def status() -> StatusReport:
        return status_report()

    return room
