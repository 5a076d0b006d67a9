"""How the parts of a policy read in a sentence: amounts in the units that people write them in."""

from typing import Final

from policies import units
from policies.snapshot import LadderStep, Limit, Quota

ABSENT: Final = "none"
_US_PER_S: Final = 1_000_000


def names_text(names: tuple[str, ...]) -> str:
    """Names with commas."""
    return ", ".join(names) or ABSENT


def rate_text(rate_per_s: float | None) -> str:
    """A rate, where there is one."""
    return ABSENT if rate_per_s is None else units.rate_text(rate_per_s)


def duration_text(length_s: float | None) -> str:
    """A length of time, where there is one."""
    return ABSENT if length_s is None else units.duration_text(length_s)


def size_text(size: int | None) -> str:
    """A size, where there is one."""
    return ABSENT if size is None else units.size_text(size)


def count_text(count: int | None) -> str:
    """A count, where there is one."""
    return ABSENT if count is None else str(count)


def limit_text(limit: Limit) -> str:
    """A limit: "5/s with a burst of 10, 4 in flight, observed"."""
    parts = []
    if limit.rate_per_s is not None:
        parts.append(f"{units.rate_text(limit.rate_per_s)} with a burst of {limit.burst}")
    if limit.in_flight is not None:
        parts.append(f"{limit.in_flight} in flight")
    if limit.observe:
        parts.append("observed")
    return ", ".join(parts)


def amount_text(amount: int, meter: str) -> str:
    """So much of what a quota counts: "200h", "2TiB" or "5000000"."""
    if meter == "device_time":
        return units.duration_text(amount / _US_PER_S)
    return units.size_text(amount) if meter == "bytes" else str(amount)


def period_text(quota: Quota) -> str:
    """The period of a quota; a calendar's with its time zone."""
    return f"{quota.per} {quota.zone}" if quota.per.startswith("calendar-") else quota.per


def ladder_text(ladder: tuple[LadderStep, ...]) -> str:
    """What happens at which share: "80% warn, 100% refuse"."""
    return ", ".join(f"{units.percent_text(step.share)} {step.action}" for step in ladder) or ABSENT


def quota_text(quota: Quota) -> str:
    """A quota: "device_time 200h per calendar-month UTC, 80% warn, 100% refuse"."""
    amount = amount_text(quota.limit, quota.meter)
    return f"{quota.meter} {amount} per {period_text(quota)}, {ladder_text(quota.ladder)}"
