"""Event lines: one line for each thing that happens to the pod; tracebacks are the one exception."""

from __future__ import annotations

from telemetry.logs.line import Level
from telemetry.logs.log import LOG


def say(subject: str, event: str) -> None:
    """Tell one event of ``SUBJECT``."""
    LOG.say(subject, event)


def show(subject: str, text: str) -> None:
    """Tell a text of several lines, such as a traceback."""
    LOG.show(subject, text, Level.ERROR)
