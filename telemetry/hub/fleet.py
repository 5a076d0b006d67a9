"""Puts together what the pages show of drift, of the machine and of telemetry itself: from what others told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from telemetry.hub.hours import StoredFile
from telemetry.hub.overview import Known, old_text
from telemetry.hub.releases import Told
from telemetry.hub.sidecars import Asked, Heard
from telemetry.hub.writer import StoreCounts

Json = dict[str, Any]


class HubFacts(Struct, frozen=True):
    """What the hub knows of itself.

    Attributes:
        started_s: seconds since the epoch.
        files: of its store, the newest first.
        posts: of spans, by the status that was answered.
        retain_s, most_bytes: how much it keeps.
        dropped: what the supervisor's counters say was not counted, not told or not copied, by what and why.
    """

    started_s: float
    counts: StoreCounts
    files: tuple[StoredFile, ...]
    posts: dict[str, int]
    retain_s: float
    most_bytes: int
    log_lines: dict[str, int]
    log_suppressed: int
    dropped: Mapping[tuple[str, str], int] = {}


def drift_json(told: Told, now_s: float) -> Json:
    """Return the answer of ``/api/drift``; ``is_known`` tells nothing from not knowing."""
    is_known = told.answer is not None
    return {**(told.answer or {}), "is_known": is_known, "error": old_text(told.error, told.at_s, now_s)}


def machine_json(asked: Asked, costs: Told, known: Known, now_s: float) -> Json:
    """Return the answer of ``/api/machine``."""
    status, slos = known.status or {}, known.slos or {}
    return {
        "at_s": asked.at_s,
        "sidecars": [sidecar_json(heard, "machine") for heard in asked.heard],
        "left_out": asked.left_out,
        "pods": status.get("pods", []),
        "costs": costs.answer,
        "costs_error": old_text(costs.error, costs.at_s, now_s),
        "objectives": [slo for slo in slos.get("slos", []) if _is_of_starts(slo)],
        "error": asked.error,
    }


def telemetry_json(asked: Asked, hub: HubFacts) -> Json:
    """Return the answer of ``/api/telemetry``."""
    return {
        "at_s": asked.at_s,
        "sidecars": [sidecar_json(heard, "health") for heard in asked.heard],
        "left_out": asked.left_out,
        "hub": _hub_json(hub),
        "supervisor": [{"what": what, "why": why, "count": count} for (what, why), count in hub.dropped.items()],
        "error": asked.error,
    }


def sidecar_json(heard: Heard, key: str) -> Json:
    """Return what one sidecar said under a name of its own."""
    return {"name": heard.name, "error": heard.error, key: heard.answer}


def _is_of_starts(slo: Any) -> bool:
    """Whether an objective is on loads of pods or on cold starts."""
    if not isinstance(slo, dict):
        return False
    return slo.get("events") == "loads" or "cold" in str(slo.get("good_when", ""))


def _hub_json(hub: HubFacts) -> Json:
    counts = hub.counts
    return {
        "started_s": hub.started_s,
        "stored": counts.stored,
        "repeated": counts.repeated,
        "lost": counts.lost,
        "waiting": counts.waiting,
        "files": len(hub.files),
        "file_bytes": sum(file.size_bytes for file in hub.files),
        "damaged_files": sum(file.name.is_damaged for file in hub.files),
        "oldest_s": min((file.name.hour_s for file in hub.files if not file.name.is_damaged), default=None),
        "posts": hub.posts,
        "retain_s": hub.retain_s,
        "most_bytes": hub.most_bytes,
        "log_lines": hub.log_lines,
        "log_suppressed": hub.log_suppressed,
    }
