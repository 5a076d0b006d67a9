"""What a webhook is told: one alert, in the form of Alertmanager's own webhooks, with a line for chats beside it."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from gateway.control.alerting.alertmanager import moment
from gateway.control.slo_kept import Notice

_NEVER = "0001-01-01T00:00:00Z"


def webhook_body(notice: Notice, receiver: str) -> bytes:
    """Return the body of a POST."""
    status = "firing" if notice.ended_s is None else "resolved"
    labels, annotations = notice.labels, notice.annotations
    return msgspec.json.encode(
        {
            "version": "4",
            "receiver": receiver,
            "status": status,
            "groupKey": fingerprint(notice),
            "truncatedAlerts": 0,
            "groupLabels": {name: labels[name] for name in ("mesh", "slo", "model")},
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": "",
            "alerts": [
                {
                    "status": status,
                    "labels": labels,
                    "annotations": annotations,
                    "startsAt": moment(notice.began_s),
                    "endsAt": _NEVER if notice.ended_s is None else moment(notice.ended_s),
                    "generatorURL": annotations.get("hub_url", ""),
                    "fingerprint": fingerprint(notice),
                }
            ],
            "text": _line(notice, status),
        }
    )


def fingerprint(notice: Notice) -> str:
    """Return what is the same for every notice of one alert, though its owner or anything else told of it changes."""
    return sha256(msgspec.json.encode((notice.labels["mesh"], *notice.alert))).hexdigest()[:16]


def message_id(notice: Notice) -> str:
    """Return what is the same however often one beginning or end is told, and of no other."""
    status, at_s = ("firing", notice.began_s) if notice.ended_s is None else ("resolved", notice.ended_s)
    return f"{fingerprint(notice)}-{at_s:.0f}-{status}"


def _line(notice: Notice, status: str) -> str:
    labels, annotations = notice.labels, notice.annotations
    told = f"[{status}] {labels['severity']}: {annotations['summary']}"
    details = [annotations[key] for key in ("description", "runbook_url") if annotations.get(key)]
    return " - ".join([told, *details])
