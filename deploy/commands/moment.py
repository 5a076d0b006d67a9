"""A moment on the command line: as policy files write it, or a length of time from now or before it."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime

from policies import units
from policies.errors import advice


def moment(text: str) -> str:
    """Return a moment as policy files write it; a length of time counts from now."""
    from_now_s = units.quantity(text, "duration")
    if from_now_s is not None:
        return datetime.fromtimestamp(time.time() + from_now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        units.moment_unix_s(text)
    except units.UnitError as error:
        fix = f"{error.fix.removesuffix('.')}, or a length of time from now, such as 7d."
        raise argparse.ArgumentTypeError(advice(error.problem, fix)) from error
    return text


def past_unix_s(text: str) -> float:
    """Return seconds since 1970 of a moment; a length of time counts back from now."""
    before_now_s = units.quantity(text, "duration")
    try:
        at_s = units.moment_unix_s(text) if before_now_s is None else time.time() - before_now_s
    except units.UnitError as error:
        fix = f"{error.fix.removesuffix('.')}, or a length of time before now, such as 15m."
        raise argparse.ArgumentTypeError(advice(error.problem, fix)) from error
    if at_s <= 0:
        raise argparse.ArgumentTypeError(f"{text} is before 1970: write a later moment, or leave it out")
    return at_s
