"""Event lines: one line on stderr for each thing that happens, for people."""

from __future__ import annotations

import sys


def say(event: str) -> None:
    """Print ``hub: EVENT`` as one line."""
    print(f"hub: {' '.join(event.split())}", file=sys.stderr, flush=True)
