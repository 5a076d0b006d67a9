"""Event lines: one line on stderr for each thing that happens, for people."""

from __future__ import annotations

import sys


def say(subject: str, event: str) -> None:
    """Print ``SUBJECT: EVENT`` as one line."""
    print(f"{subject}: {' '.join(event.split())}", file=sys.stderr, flush=True)
