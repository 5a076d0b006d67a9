"""Puts together what the pages show of the mesh: from what its supervisor said last."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Json = dict[str, Any]


class Known(Struct, frozen=True):
    """What the hub knows of the mesh.

    Attributes:
        status, slos: what ``/admin/status`` and ``/admin/slo`` answered last; None before the first answer.
        at_s: when that was, seconds since the epoch; 0 before.
        error: why nothing newer is known; "" when the last question was answered.
    """

    status: Json | None = None
    slos: Json | None = None
    at_s: float = 0.0
    error: str = ""


def slos_json(known: Known, now_s: float) -> Json:
    """Return the answer of ``/api/slos``."""
    return {"slos": known.slos, "as_of": known.at_s, "error": old_text(known.error, known.at_s, now_s)}


def overview_json(known: Known, now_s: float) -> Json:
    """Return the answer of ``/api/overview``."""
    status, slos = known.status or {}, known.slos or {}
    return {
        "models": slos.get("models", []),
        "slos": slos.get("slos", []),
        "pods": status.get("pods", []),
        "firing": firing(slos),
        "mesh": status.get("mesh", ""),
        "error": old_text(known.error, known.at_s, now_s),
    }


def firing(slos: Json) -> list[Json]:
    """Return the alerts that fire, each with the objective it is of; those that page first."""
    alerts = [
        {"slo": slo.get("name", ""), "model": slo.get("model", ""), "owner": slo.get("owner", ""), **alert}
        for slo in slos.get("slos", [])
        for alert in slo.get("alerts", [])
        if alert.get("state") == "firing"
    ]
    return sorted(alerts, key=lambda alert: alert.get("severity") != "page")


def old_text(error: str, at_s: float, now_s: float) -> str:
    """Return why what is shown is old or absent, and how old; "" when it is neither.

    Args:
        at_s: when it was told; 0 when it never was.
    """
    if not error or not at_s:
        return error
    return f"{error} What is shown is {max(0.0, now_s - at_s):.0f} s old."
