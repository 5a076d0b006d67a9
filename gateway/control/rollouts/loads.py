"""Loads: how much was asked of each version minute by minute in the last hour, and what a request of it cost."""

from __future__ import annotations

from collections.abc import Collection

from msgspec import Struct

from gateway.decide.rollouts.progress import VersionSeen
from gateway.decide.rollouts.room import MEASURED_BY

MINUTE_S = 60
MINUTES = 60
# What requests cost lately says more than what they cost an hour ago, when other batches were usual.
_LATELY_MINUTES = 10
_MICROSECONDS = 1_000_000

VersionName = tuple[str, str]
"""A model and one of its versions."""


class Minute(Struct, array_like=True):
    """What a version answered in a minute.

    Attributes:
        start: in minutes since the epoch.
        told_us: microseconds of devices, as far as requests told of any.
    """

    start: int
    requests: int = 0
    told_us: int = 0


class Loads:
    """Every version of the policy in force; others are not counted."""

    def __init__(self) -> None:
        self._minutes: dict[VersionName, list[Minute]] = {}

    def follow(self, versions: Collection[VersionName]) -> None:
        """Count these from now on, and forget all others."""
        self._minutes = {version: self._minutes.get(version, []) for version in versions}

    def add(self, version: VersionName, requests: int, device_us: int, now_s: float) -> None:
        """Count requests that a model answered now."""
        minutes = self._minutes.get(version)
        if minutes is None or not requests:
            return
        start = int(now_s // MINUTE_S)
        if not minutes or minutes[-1].start != start:
            # A clock that was set back leaves no minutes of the future.
            minutes[:] = [one for one in minutes if start - MINUTES <= one.start < start]
            minutes.append(Minute(start))
        minutes[-1].requests += requests
        minutes[-1].told_us += device_us

    def seen(self, version: VersionName, ready_pods: int, now_s: float) -> VersionSeen:
        """Return what is known of a version's pods, by its last ten minutes or, where they are too few, the hour."""
        hour = self._of(version, now_s)
        lately = [one for one in hour if one.start > now_s // MINUTE_S - _LATELY_MINUTES]
        counted = lately if sum(one.requests for one in lately) >= MEASURED_BY else hour
        requests = sum(one.requests for one in counted)
        told_us = sum(one.told_us for one in counted)
        return VersionSeen(ready_pods, requests, told_us / _MICROSECONDS / requests if told_us else None)

    def rate_per_s(self, model: str, now_s: float) -> float:
        """Return how much is asked of a model now: the last whole minute or this one, whichever has more."""
        this = int(now_s // MINUTE_S)
        return max(self._by_minute(model, now_s).get(start, 0) for start in (this - 1, this)) / MINUTE_S

    def busiest_per_s(self, model: str, now_s: float) -> float:
        """Return how much was asked of a model in the busiest minute of the last hour."""
        return max(self._by_minute(model, now_s).values(), default=0) / MINUTE_S

    def _by_minute(self, model: str, now_s: float) -> dict[int, int]:
        total: dict[int, int] = {}
        for version in self._minutes:
            if version[0] == model:
                for one in self._of(version, now_s):
                    total[one.start] = total.get(one.start, 0) + one.requests
        return total

    def _of(self, version: VersionName, now_s: float) -> list[Minute]:
        now = int(now_s // MINUTE_S)
        return [one for one in self._minutes.get(version, ()) if now - MINUTES < one.start <= now]

    def kept(self) -> dict[VersionName, tuple[Minute, ...]]:
        """Return what a restart shall know."""
        return {version: tuple(minutes) for version, minutes in self._minutes.items() if minutes}

    def restore(self, kept: dict[VersionName, tuple[Minute, ...]]) -> None:
        """Put back what was kept, before anything is counted."""
        for version, minutes in kept.items():
            if version in self._minutes:
                self._minutes[version] = list(minutes)
