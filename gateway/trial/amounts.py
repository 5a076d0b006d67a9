"""Amounts of quotas as people read them."""

from __future__ import annotations

_SIZES = (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_LENGTHS = (("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000))


def used_text(used: int, limit: int, meter: str) -> str:
    """Return how much of a quota is used, such as "3 of 200 requests"."""
    return f"{amount_text(used, meter).removesuffix(f' {meter}')} of {amount_text(limit, meter)}"


def amount_text(amount: int, meter: str) -> str:
    """Return an amount of a meter, rounded to four digits where it has a unit."""
    if meter == "bytes":
        return _scaled(amount, _SIZES, "B")
    if meter == "device_time":
        return _scaled(amount, _LENGTHS, "us")
    return f"{amount:,} {meter}"


def _scaled(amount: int, units: tuple[tuple[str, int], ...], smallest: str) -> str:
    for unit, size in units:
        if amount >= size:
            return f"{amount / size:.4g} {unit}"
    return f"{amount} {smallest}"
