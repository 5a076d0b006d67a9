"""Event lines: one line for each thing that happens to the gateway."""

from __future__ import annotations

from collections.abc import Callable

from telemetry.logs.log import LOG

Say = Callable[[str], None]
"""Takes one event: a sentence, or a ``telemetry.logs.line.Line`` that says more of it."""


def say(event: str) -> None:
    """Tell one event; a reader that went away costs the line and nothing else."""
    LOG.say("gateway", event)
