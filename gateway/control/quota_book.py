"""What the supervisor knows of one quota, and decides from it: when to ask the ledger, for how much, what to tell."""

from __future__ import annotations

import math
from collections.abc import Iterable

from msgspec import Struct

from gateway.control.ledger.protocol import Claim, Grant, Lease
from gateway.decide.tables import account_of
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import Quota

# How long what is asked for lasts at the rate of the last second, and how often the ledger is asked at least when a
# quota was used, so that its rate and its window are told anew.
_LASTS_S = 2.0
_WANTED_SHARE = 0.01
_FAST_S = 1.0
_SLOW_S = 300.0
_TOLD_AGAIN_S = 10.0
# A rolling window's use swings about a step; it is told again only after it fell clearly below.
_CLEARLY_BELOW = 0.9


class OfTenant(Struct, frozen=True):
    """A quota and whose it is."""

    tenant: str
    quota: Quota

    @property
    def account(self) -> str:
        """What the limit table and the ledger call it."""
        return account_of(self.tenant, self.quota)


def quotas_of(snapshot: Snapshot) -> dict[str, OfTenant]:
    """Return every quota of a generation, by account."""
    found = (OfTenant(tenant.name, quota) for tenant in snapshot.tenants.values() for quota in tenant.quotas)
    return {one.account: one for one in found}


class Rate:
    """How fast something grows, lately: an average that forgets."""

    def __init__(self, forgets_in_s: float) -> None:
        self._forgets_in_s = forgets_in_s
        self._sum = self._weight = 0.0
        self.per_s = 0.0

    def add(self, amount: float, over_s: float) -> None:
        """Take in what grew over some time."""
        if over_s <= 0.0:
            return
        kept = math.exp(-over_s / self._forgets_in_s)
        self._sum = self._sum * kept + amount / over_s * (1.0 - kept)
        # At first few seconds stand for all: without this a young average would be too low.
        self._weight = self._weight * kept + (1.0 - kept)
        self.per_s = max(0.0, self._sum / self._weight)


class Reading(Struct, frozen=True, gc=False):
    """A quota's row of the limit table, as this gateway's workers use it."""

    granted: int
    used: int


class QuotaBook:
    """One account.

    Attributes:
        limit: of the window, with grants on top.
        cap: most that may be used in a window: up to the share at which the quota refuses; None for any amount.
        lease: the ledger's latest answer; None before the first.
        waited: what requests wait for, since the last claim.
        used_total: of this gateway, when it was last measured; None before the first time.
    """

    def __init__(self, of: OfTenant, grants: Iterable[Grant], now_s: float) -> None:
        self.of = of
        self.limit = of.quota.limit
        self.lease: Lease | None = None
        self.waited = 0
        self._fast, self._slow = Rate(_FAST_S), Rate(_SLOW_S)
        self.used_total: int | None = None
        self._seen_used = 0
        self._measured_s = now_s
        self._due_s = 0.0
        self._is_short = False
        self._passed: frozenset[float] | None = None
        self.set_terms(of, grants, now_s)

    def set_terms(self, of: OfTenant, grants: Iterable[Grant], now_s: float) -> None:
        """Go by another edition of the quota, or by other grants."""
        live = [grant for grant in grants if grant.until_s > now_s]
        limit = of.quota.limit + sum(grant.amount for grant in live)
        if (of.quota, limit) != (self.of.quota, self.limit):
            self._due_s = 0.0
        self.of, self.limit = of, limit
        share = of.quota.refuse_share
        self.cap = None if share is None else math.floor(limit * share)
        self._grants_end_s = min((grant.until_s for grant in live), default=math.inf)

    @property
    def account(self) -> str:
        """What the limit table and the ledger call it."""
        return self.of.account

    @property
    def rate_per_s(self) -> float:
        """How fast it is used lately."""
        return self._slow.per_s

    @property
    def used(self) -> int:
        """Used or reserved in the present window, by every gateway, when the ledger was last asked."""
        return 0 if self.lease is None else self.lease.window_used

    def are_terms_old(self, now_s: float) -> bool:
        """Whether a grant has ended since the terms were set."""
        return now_s >= self._grants_end_s

    def believed(self, row: Reading) -> Reading:
        """Return what to go by of a new reading: use that fell is believed when the next reading shows it as well.

        What comes back is told a moment later that way; one reading that is too low would let all be used again.
        """
        seen, self._seen_used = self._seen_used, row.used
        if self.used_total is None or row.used >= self.used_total:
            return row
        return Reading(row.granted, min(self.used_total, max(row.used, seen)))

    def is_due(self, row: Reading, now_s: float) -> bool:
        """Whether the ledger is to be asked: something was used or is waited for, or another window began."""
        return (
            row.used != self.used_total
            or now_s >= self._due_s
            or self._is_short
            or self.lease is None
            or bool(self.waited)
        )

    @property
    def _left(self) -> int:
        """What this gateway may still use of the window, what it holds included."""
        if self.cap is None or self.lease is None:
            return self.limit
        return max(0, self.cap - self.lease.window_used - self.lease.outstanding_others)

    @property
    def wanted(self) -> int:
        """How much to have unused: for seconds, but no more than half of what is left, so that little is stranded."""
        usual = max(1, math.ceil(self._fast.per_s * _LASTS_S), math.ceil(self.limit * _WANTED_SHARE))
        return min(usual, max(1, self._left // 2))

    def measure(self, row: Reading, now_s: float) -> None:
        """Take in what was used since the last time."""
        grown = 0 if self.used_total is None else row.used - self.used_total
        over_s, self._measured_s = now_s - self._measured_s, now_s
        self._fast.add(grown, over_s)
        self._slow.add(grown, over_s)
        self.used_total = row.used

    def to_keep(self, row: Reading) -> int:
        """Return how much of what is held the gateway keeps; the rest it gives back before it says so."""
        unused = max(0, row.granted - row.used)
        return unused if unused <= 2 * self.wanted or self.waited else self.wanted

    def claim(self, row: Reading) -> Claim:
        """Return what to say to the ledger; a request that waits needs more than there is."""
        want = self.wanted
        if self.waited:
            unused = max(0, row.granted - row.used)
            want = max(2 * want, unused + max(self.waited, unused))
        quota = self.of.quota
        return Claim(self.account, quota.per, quota.zone, self.cap, row.used, row.granted, want)

    def returning(self, row: Reading) -> Claim:
        """Return what to say to the ledger of a quota that is no more; ``row`` holds nothing unused."""
        quota = self.of.quota
        return Claim(self.account, quota.per, quota.zone, self.cap, row.used, row.granted, 0)

    def take(self, lease: Lease, now_s: float) -> None:
        """Take in the ledger's answer."""
        self.lease = lease
        self.waited = 0
        unused = lease.granted_total - (self.used_total or 0)
        self._is_short = 2 * unused < self.wanted and self._left > unused
        # A rate that falls is told too, or a quota that rests would look as if it were used on.
        soon_s = now_s + _TOLD_AGAIN_S if self.rate_per_s * _SLOW_S >= 1.0 else math.inf
        self._due_s = min(lease.window_end_s, soon_s)

    def steps_passed(self) -> list[str]:
        """Return a line for every step of the ladder that use has passed since this was last asked.

        What was passed before the first time was told by whoever ran before.
        """
        share = self.used / max(1, self.limit)
        before = self._passed
        passed = {step.share for step in self.of.quota.ladder if share >= step.share}
        still = {step for step in before or () if share >= step * _CLEARLY_BELOW}
        self._passed = frozenset(passed | still)
        if before is None:
            return []
        name = f"quota {self.of.quota.name} of tenant {self.of.tenant}"
        return [
            f"{name} passed {step.share:.0%} ({step.action})"
            for step in self.of.quota.ladder
            if step.share in passed - before
        ]
