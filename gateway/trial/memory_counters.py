"""Counters of a replay: rates, places in flight and quotas in plain memory, as if a ledger granted all at once.

Time is the recorded traffic's: whoever replays says the moment before each decision.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from gateway.decide.limits import Charge, QuotaCharge, RateCharge, SlotCharge, Standing
from gateway.decide.quota_windows import Window, resets_at_s, slot_end_s, use_in_window, window_at
from gateway.decide.tables import account_of
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import METERS, Quota

Used = tuple[int, int, int, int]
"""What a request used, in the order of ``METERS``; ``NOT_TOLD`` of what no pod said."""

NOT_TOLD = -1

_GRANTED = 2**62
_PLACES = {meter: place for place, meter in enumerate(METERS)}


class QuotaUse:
    """The use of one quota.

    Attributes:
        used: in the present window.
        total: ever since.
    """

    def __init__(self, quota: Quota) -> None:
        self.used = 0
        self.total = 0
        self.quota = quota
        self._slots: dict[float, int] = {}
        self._window = Window(0.0, 0.0, 1.0)
        self._slot_end_s = 0.0
        self._standing: Standing | None = None

    def standing(self, wall_s: float) -> Standing:
        """Return how it stands."""
        if wall_s >= self._slot_end_s:
            self._roll(wall_s)
        if self._standing is None:
            oldest_s = next(iter(self._slots), None)  # time goes on, so they are in its order
            self._standing = Standing(_GRANTED, self.used, self.quota.limit, resets_at_s(self._window, oldest_s), 0.0)
        return self._standing

    def add(self, amount: int, wall_s: float) -> None:
        """Use so much."""
        if wall_s >= self._slot_end_s:
            self._roll(wall_s)
        self._slots[self._slot_end_s] = self._slots.get(self._slot_end_s, 0) + amount
        self.used += amount
        self.total += amount
        self._standing = None

    def begin(self, used: int, wall_s: float) -> None:
        """Begin with so much used before; none of it counts in ``total``."""
        self.add(used, wall_s)
        self.total -= used

    def _roll(self, wall_s: float) -> None:
        self._window = window_at(self.quota.per, self.quota.zone, wall_s)
        self._slot_end_s = slot_end_s(self._window, wall_s)
        self._slots = {end_s: used for end_s, used in self._slots.items() if end_s > self._window.start_s}
        self.used = use_in_window(self._slots, self._window)
        self._standing = None


class Costs:
    """What answered requests of each version used and how long they took so far, to guess by for those refused."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], _Sums] = {}

    def learn(
        self,
        model: str,
        version: str,
        request_bytes: int,
        response_bytes: int,
        device_us: int,
        tokens: int,
        duration_us: int,
    ) -> None:
        """Take note of an answered request; ``device_us`` is negative when no pod said, nor how many tokens."""
        sums = self._sums.get((model, version))
        if sums is None:
            sums = self._sums[model, version] = _Sums()
        sums.count += 1
        sums.request_bytes += request_bytes
        sums.response_bytes += response_bytes
        sums.duration_us += duration_us
        if device_us >= 0:
            sums.told += 1
            sums.device_us += device_us
            sums.tokens += tokens

    def mean(self, model: str, version: str, meter: str) -> int:
        """Return the mean in the meter's unit; 1 before any request told."""
        sums = self._sums.get((model, version))
        if sums is None:
            return 1
        match meter:
            case "requests":
                return 1
            case "bytes":
                return max(1, sums.response_bytes // sums.count)  # beyond the body that a request announces
            case "device_time":
                return max(1, sums.device_us // max(1, sums.told))
            case _:
                return max(1, sums.tokens // max(1, sums.told))

    def of_one_refused(self, model: str, version: str, announced_bytes: int) -> tuple[Used, float] | None:
        """Return what a request would have used that was refused, and for how many seconds; None before any answer.

        Args:
            announced_bytes: of its own body; 0 when it announced no length.
        """
        sums = self._sums.get((model, version))
        if sums is None:
            return None
        body_bytes = (announced_bytes or sums.request_bytes // sums.count) + sums.response_bytes // sums.count
        of_a_device = NOT_TOLD, NOT_TOLD
        if sums.told:
            of_a_device = sums.device_us // sums.told, sums.tokens // sums.told
        return (1, body_bytes, *of_a_device), sums.duration_us / sums.count / 1e6


class _Sums:
    """Of one version's answered requests; ``told`` counts those of which a pod said what they used."""

    __slots__ = ("count", "device_us", "duration_us", "request_bytes", "response_bytes", "tokens", "told")

    def __init__(self) -> None:
        self.count = self.told = 0
        self.request_bytes = self.response_bytes = 0
        self.device_us = self.tokens = self.duration_us = 0


class MemoryCounters:
    """The state of all limits of one policy.

    Args:
        costs: what requests are known to cost.

    Attributes:
        wall_s: the moment of the next decision, seconds since the epoch; rates take it for their clock.
        quotas: by account.
    """

    def __init__(self, snapshot: Snapshot, costs: Costs) -> None:
        self.wall_s = 0.0
        self._costs = costs
        self.quotas = {
            account_of(tenant.name, quota): QuotaUse(quota)
            for tenant in snapshot.tenants.values()
            for quota in tenant.quotas
        }
        self._tats_ns: dict[str, int] = {}
        self._held: dict[str, int] = {}
        self._leaving: list[tuple[float, str]] = []

    def at(self, wall_s: float) -> None:
        """Go on to a moment: places of requests that have been answered are free."""
        self.wall_s = wall_s
        leaving = self._leaving
        while leaving and leaving[0][0] <= wall_s:
            _, key = heapq.heappop(leaving)
            self._held[key] -= 1

    # --- gateway.decide.limits.Counters

    def tat_ns(self, key: str) -> int:
        """Return a rate's theoretical arrival time; 0 when it was never charged."""
        return self._tats_ns.get(key, 0)

    def in_flight(self, key: str) -> int:
        """Return how many requests hold a place."""
        return self._held.get(key, 0)

    def standing(self, account: str) -> Standing | None:
        """Return how a quota stands."""
        use = self.quotas.get(account)
        return None if use is None else use.standing(self.wall_s)

    def estimate(self, model: str, version: str, meter: str) -> int:
        """Return the mean of what requests cost so far; 1 before any told."""
        return self._costs.mean(model, version, meter)

    # --- charging

    def charge(self, charges: Sequence[Charge], used: Used | None, answered_s: float) -> None:
        """Write what an admitted request is charged.

        Args:
            used: what it really used; None leaves it at what was reserved, and so does what was not told.
            answered_s: when its places are free again.
        """
        for charge in charges:
            if type(charge) is RateCharge:
                self._tats_ns[charge.key] = charge.new_tat_ns
            elif type(charge) is SlotCharge:
                self._held[charge.key] = self._held.get(charge.key, 0) + 1
                heapq.heappush(self._leaving, (answered_s, charge.key))
            elif type(charge) is QuotaCharge:
                amount = NOT_TOLD if used is None else used[_PLACES[charge.meter]]
                self.quotas[charge.account].add(charge.amount if amount == NOT_TOLD else amount, self.wall_s)
