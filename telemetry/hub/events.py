"""Event lines: one line for each thing that happens to the hub."""

from __future__ import annotations

from telemetry.logs.log import LOG


def say(event: str) -> None:
    """Tell one event."""
    LOG.say("hub", event)
