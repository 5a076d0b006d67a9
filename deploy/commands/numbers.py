"""Reads numbers that options of commands give; what cannot be is a sentence."""

from __future__ import annotations

import argparse
import math

_MOST_DIGITS = 18


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


def whole(text: str, least: int, most: int | None = None) -> int:
    """Return the whole number that an option gives, between two that it may be.

    Raises:
        argparse.ArgumentTypeError: it is none, or not between them.
    """
    is_whole = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    value = int(text) if is_whole else -1
    if value < least or (most is not None and value > most):
        bounds = f"a whole number of {least} or more" if most is None else f"a number from {least} to {most}"
        raise argparse.ArgumentTypeError(f"{text} is not {bounds}")
    return value
