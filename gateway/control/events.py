"""Event lines: one line on standard error for each thing that happens to the gateway."""

from __future__ import annotations

import sys
from collections.abc import Callable

Say = Callable[[str], None]


def say(event: str) -> None:
    """Write one event; a reader that went away costs the line and nothing else."""
    line = " ".join(event.splitlines())
    try:
        sys.stderr.write(f"gateway: {line}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
