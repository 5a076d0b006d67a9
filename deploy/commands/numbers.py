"""Reads numbers that options of commands give; what cannot be is a sentence."""

from __future__ import annotations

import argparse
import math


def number(text: str, least: float, most: float = math.inf, unit: str = "") -> float:
    """Return the number that an option gives, between two that it may be.

    Raises:
        argparse.ArgumentTypeError: it is none, or not between them.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or not least <= value <= most:
        bounds = f"between {least:g} and {most:g}" if math.isfinite(most) else f"a number of {least:g} or more"
        raise argparse.ArgumentTypeError(f"{text!r} is not {bounds}{f' {unit}' if unit else ''}")
    return value
