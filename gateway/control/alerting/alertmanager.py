"""What an Alertmanager is told, as its API v2 takes it: alerts that fire, and when each ends unless told again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.control.alerting.outbox import LASTS_S
from gateway.control.slo_kept import Notice


def alerts_body(notices: Iterable[Notice], wall_s: float) -> bytes:
    """Return the body of a POST to /api/v2/alerts."""
    return msgspec.json.encode([_alert(notice, wall_s) for notice in notices])


def _alert(notice: Notice, wall_s: float) -> dict[str, Any]:
    ends_s = wall_s + LASTS_S if notice.ended_s is None else notice.ended_s
    return {
        "labels": notice.labels,
        "annotations": notice.annotations,
        "startsAt": moment(notice.began_s),
        "endsAt": moment(ends_s),
        "generatorURL": notice.annotations.get("hub_url", ""),
    }


def moment(at_s: float) -> str:
    """Write a moment as RFC 3339."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
