"""Event lines: one line on stderr for each thing that happens, for people; tracebacks are the one exception."""

from __future__ import annotations

import sys


def say(subject: str, event: str) -> None:
    """Print ``SUBJECT: EVENT`` as one line."""
    print(f"{subject}: {' '.join(event.split())}", file=sys.stderr, flush=True)


def show(subject: str, text: str) -> None:
    """Print a text of several lines, each as ``SUBJECT: LINE``."""
    print(*(f"{subject}: {line}" for line in text.splitlines()), sep="\n", file=sys.stderr, flush=True)
