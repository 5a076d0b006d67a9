"""``penstock drift``: shows how far the inputs and outputs of models have moved, and what is odd about the outputs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlencode

from deploy.commands.drift_text import drift_text
from deploy.commands.running_mesh import NotReachable, add_arguments, ask, decoded, find
from telemetry.drift.reports import DriftReport
from telemetry.stats.drift import Says


def run(arguments: Sequence[str]) -> int:
    """Print what there is; 0 unless the mesh cannot be asked, or ``--check`` finds what drifts or nothing to check."""
    parser = argparse.ArgumentParser(
        prog="penstock drift", description="Show how far the inputs and outputs of models have moved."
    )
    parser.add_argument("model", nargs="?", metavar="MODEL", help="one model; all that are watched when left out")
    add_arguments(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 while a version drifts, with 2 when nothing of MODEL is watched",
    )
    options = parser.parse_args(arguments)
    path = "/admin/drift" + (f"?{urlencode({'model': options.model})}" if options.model else "")
    try:
        target = find(options, os.environ, Path.home())
        answer = ask(target, path)
        report = decoded(target, path, answer, DriftReport)
    except NotReachable as error:
        print(f"penstock drift: {error}", file=sys.stderr)
        return 1
    print(answer.decode() if options.json else drift_text(report, options.model or ""))
    if options.check and options.model and not report.versions:
        return 2  # a misspelt name is no model that is steady
    return int(options.check and any(version.says == Says.DRIFTS for version in report.versions))
