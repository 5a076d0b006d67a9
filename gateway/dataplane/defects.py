"""Defects: exceptions that nothing was meant to raise. What one request ran into is told, and others go on.

Told are types and places, never an exception's text: it may quote the request.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress

from telemetry.logs.line import Level
from telemetry.logs.log import LOG
from telemetry.logs.raised import raised

OnDefect = Callable[[str, Exception], None]
"""Takes where a defect was, and what it raised."""

# Places in the code that are told of, each once; beyond, they are only counted.
_MOST_TOLD = 32


def unheard(where: str, error: Exception) -> None:
    """Let a defect end what ran into it, where nobody counts them."""
    raise error


def _to_log(text: str) -> None:
    LOG.show("gateway", text, Level.ERROR, "gateway.defect")


class Defects:
    """What one worker ran into.

    Attributes:
        count: of all of them, told or not.

    Args:
        say: takes what is told to people.
    """

    def __init__(self, say: Callable[[str], None] = _to_log) -> None:
        self._say = say
        self._told: set[tuple[str, int]] = set()
        self.count = 0

    def note(self, where: str, error: Exception) -> None:
        """Count one, and tell of it if it is the first from its line of code."""
        self.count += 1
        frames = traceback.extract_tb(error.__traceback__, limit=-1)
        place = (frames[0].filename, frames[0].lineno or 0) if frames else ("", 0)
        if place in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(place)
        with suppress(OSError):  # nobody reads it
            self._say(f"a defect in {where} (number {self.count}): {raised(error)}")
