"""Event lines: one line on stderr for each thing that happens, for people."""

from __future__ import annotations

import sys


def say(name: str, event: str) -> None:
    """Print ``sidecar MODEL/VERSION: EVENT`` as one line; ``name`` is "" while the pod's is unknown."""
    print(f"{f'sidecar {name}'.strip()}: {' '.join(event.split())}", file=sys.stderr, flush=True)
