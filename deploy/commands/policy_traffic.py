"""``penstock policy traffic``: copies recorded decisions into one file, to plan with them elsewhere."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import msgspec

from deploy.commands.policy_files import running_state
from gateway.decisions.folder import FOLDER, Read, read_frames
from gateway.decisions.records import packed
from policies.errors import advice
from policies.units import UnitError, duration_s

SUMMARY = "write the decisions recorded lately into one file; it has no bodies and no secrets"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--last", metavar="LENGTH", default="24h", help="how far back, such as 1h; 24h when left out")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="the file to write")
    parser.add_argument("--state", type=Path, metavar="DIR", help="state directory; default: this user's mesh")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(options: argparse.Namespace) -> int:
    """Copy; 1 when there is no mesh or the file cannot be written."""
    try:
        since_s = time.time() - duration_s(options.last)
    except UnitError as error:
        print(f"penstock policy traffic: {advice(error.problem, error.fix)}", file=sys.stderr)
        return 2
    state = running_state(options.state)
    if state is None:
        print("penstock policy traffic: no mesh is running: name one with --state", file=sys.stderr)
        return 1
    try:
        count, skipped = copy(state / FOLDER, since_s, options.output)
    except OSError as error:
        print(f"penstock policy traffic: {options.output}: {error.strerror}", file=sys.stderr)
        return 1
    if options.json:
        print(msgspec.json.encode({"requests": count, "skipped": skipped}).decode())
    else:
        print(f"{count:,} requests written to {options.output}; {skipped} torn pieces were skipped")
    return 0


def copy(folder: Path, since_s: float, output: Path) -> tuple[int, int]:
    """Write the blocks that reach into the time since then, and return how many requests and what was skipped."""
    read, count = Read(), 0
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for frame in read_frames(folder, since_s, float("inf"), read):
            file.write(packed(frame))
            count += frame.count
    return count, read.skipped
