"""How the parts of a policy read in a sentence: amounts in the units that people write them in."""

from collections.abc import Iterator
from typing import Final

from policies import units
from policies.snapshot.limits import Limit, Tier
from policies.snapshot.route import Eject, Health, Retry
from policies.snapshot.tenant import LadderStep, Quota

ABSENT: Final = "none"
_US_PER_S: Final = 1_000_000


def changed(subject: str, word: str, before: str, after: str) -> Iterator[str]:
    """A sentence where something reads otherwise than before."""
    if before != after:
        yield f"{subject}: {word} {before} -> {after}"


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


def queue_text(tier: Tier) -> str:
    """How many may wait and how long: "64 for 1s"; "none" where nobody waits."""
    return f"{tier.queue_length} for {units.duration_text(tier.queue_wait_s)}" if tier.queue_wait_s else ABSENT


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


def health_text(health: Health) -> str:
    """How pods are probed: "/ready every 1s, down after 2, up after 1"; what is usual is not told."""
    parts = [health.path or "the usual paths"]
    if health.every_s:
        parts[0] += f" every {units.duration_text(health.every_s)}"
    if health.down_after:
        parts.append(f"down after {health.down_after}")
    return ", ".join([*parts, f"up after {health.up_after}"])


def eject_text(eject: Eject) -> str:
    """When pods are left out: "after 5 failures, for 10s to 5m, never more than 50%"."""
    terms = f"for {units.duration_text(eject.for_s)} to {units.duration_text(eject.at_most_s)}"
    share = units.percent_text(eject.max_share)
    return f"after {eject.after_failures} failures, {terms}, never more than {share}"


def retry_text(retry: Retry) -> str:
    """When a request is tried again: "2 more after connect or refused, of 20% of requests"."""
    return f"{retry.attempts} more after {' or '.join(retry.on)}, of {units.percent_text(retry.budget)} of requests"
