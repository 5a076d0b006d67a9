"""``python -m tests.simulations [WHAT] [--only WORDS] [--runs N]``: what is claimed of verdicts, examined at full size.

Each run is seeded with its claim's words and its own number, so that every one can be repeated alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from time import monotonic

from tests.simulations import canary, differences, shadow
from tests.simulations.claims import FULL_RUNS, Claim, Finding, Outcome, seeded

CLAIMS: dict[str, Sequence[Claim]] = {
    "canary": canary.CLAIMS,
    "differences": differences.CLAIMS,
    "shadow": shadow.CLAIMS,
}

RUNS_AT_ONCE = 50


def main(argv: list[str] | None = None) -> int:
    """Examine the claims asked for; returns the exit code: 1 when one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulations", description=__doc__)
    parser.add_argument("what", nargs="?", choices=(*CLAIMS, "all"), default="all")
    parser.add_argument("--only", default="", help="claims that have these words in them")
    parser.add_argument("--runs", type=int, default=FULL_RUNS, help=f"of each claim; {FULL_RUNS:,} unless told")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args(argv)
    chosen = [
        (what, number)
        for what, claims in CLAIMS.items()
        for number, claim in enumerate(claims)
        if arguments.what in (what, "all") and arguments.only in claim.name
    ]
    if not chosen:
        parser.error(f"no claim has the words {arguments.only!r}")
    print(f"{len(chosen)} claims, {arguments.runs:,} runs of each, seeded with the claim's words and the run's number")
    with ProcessPoolExecutor(arguments.processes) as pool:
        fails = sum(not _examined(pool, what, number, arguments.runs) for what, number in chosen)
    print(f"{fails} of {len(chosen)} claims fail" if fails else "all claims hold")
    return 1 if fails else 0


def _examined(pool: ProcessPoolExecutor, what: str, number: int, runs: int) -> bool:
    """Examine one claim on all processors, and print what was found; returns whether it holds."""
    began_s = monotonic()
    parts = [pool.submit(_some, what, number, start, runs) for start in range(0, runs, RUNS_AT_ONCE)]
    finding = Finding(CLAIMS[what][number], [outcome for part in parts for outcome in part.result()])
    print(f"{what}: {finding} ({monotonic() - began_s:.0f} s)", flush=True)
    return finding.holds


def _some(what: str, number: int, start: int, runs: int) -> list[Outcome]:
    claim = CLAIMS[what][number]
    return [claim.run(seeded(claim, run), True) for run in range(start, min(start + RUNS_AT_ONCE, runs))]


if __name__ == "__main__":
    sys.exit(main())
