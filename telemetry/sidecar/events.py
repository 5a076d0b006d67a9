"""Event lines: one line for each thing that happens to the sidecar."""

from __future__ import annotations

from telemetry.logs.log import LOG


def say(name: str, event: str) -> None:
    """Tell one event of the sidecar of ``MODEL/VERSION``; ``name`` is "" while the pod's is unknown."""
    LOG.say(f"sidecar {name}".strip(), event)
