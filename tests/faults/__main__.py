"""Runs one row at any size: ``python -m tests.faults kills --requests 100000 --kills 50``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.faults import kills


def main(argv: list[str] | None = None) -> int:
    """Run what is asked for and print its table; 1 when an invariant is broken."""
    options = _parser().parse_args(argv)
    plan = kills.Plan(
        options.requests, options.kills, options.seed,
        pods=options.pods, workers=options.workers, http_only=options.http_only,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        result = kills.run(plan, Path(home), _say)
    print(result.table())
    return 1 if result.violations else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    rows = parser.add_subparsers(required=True, metavar="ROW")
    row = rows.add_parser("kills", help="requests through kills of workers and pods")
    usual = kills.Plan()
    row.add_argument("--requests", type=int, default=usual.requests, metavar="N")
    row.add_argument("--kills", type=int, default=usual.kills, metavar="N", help="of workers, and as many of pods")
    row.add_argument("--seed", type=int, default=usual.seed, metavar="N")
    row.add_argument("--pods", type=int, default=usual.pods, metavar="N")
    row.add_argument("--http-only", action="store_true", help="pods speak HTTP/1.1 and not the link")
    row.add_argument("--workers", type=int, default=usual.workers, metavar="N")
    return parser


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
