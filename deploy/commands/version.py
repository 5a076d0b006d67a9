"""``penstock version``: prints what is installed."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from importlib import metadata


def run(arguments: Sequence[str]) -> int:
    """Print the version."""
    parser = argparse.ArgumentParser(prog="penstock version", description="Print the version.")
    parser.add_argument("--json", action="store_true", help="print it as JSON, with Python's and torch's")
    options = parser.parse_args(arguments)
    versions = {"penstock": _installed("penstock"), "python": platform.python_version(), "torch": _installed("torch")}
    print(json.dumps(versions) if options.json else f"penstock {versions['penstock'] or 'not installed'}")
    return 0


def _installed(distribution: str) -> str | None:
    """Return a distribution's version without importing it; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
