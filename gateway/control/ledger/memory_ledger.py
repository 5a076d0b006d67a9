"""A ledger in memory: for tests and replays, and the plainest statement of what a ledger does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct, structs

from gateway.control.ledger.leasing import (
    KEPT_S,
    KEPT_SLOTS,
    granted_total,
    is_of_a_wrong_clock,
    movement,
    refunded,
    steady_now_s,
)
from gateway.control.ledger.protocol import (
    GRANTS_KEPT_S,
    MAX_GRANTS,
    TIDY_ON_TIME_S,
    Claim,
    Grant,
    Lease,
    TooManyGrants,
)
from gateway.decide.quota_windows import (
    LONGEST_SLOT_S,
    Window,
    resets_at_s,
    slot_end_s,
    use_in_window,
    window_at,
)


class _Held(Struct, frozen=True, gc=False):
    used_total: int
    granted_total: int

    @property
    def unused(self) -> int:
        return self.granted_total - self.used_total


_NOTHING = _Held(0, 0)


class MemoryLedger:
    """See ``gateway.control.ledger.protocol.Ledger``."""

    def __init__(self) -> None:
        self._slots: defaultdict[str, dict[float, int]] = defaultdict(dict)
        self._held: defaultdict[str, dict[str, _Held]] = defaultdict(dict)  # by account and holder
        self._periods: dict[str, tuple[str, str]] = {}
        self._numbers: dict[str, int] = {}
        self._grants: dict[str, Grant] = {}
        self._now_s = 0.0

    def renew(self, holder: str, number: int, claims: Sequence[Claim], now_s: float) -> list[Lease]:
        """Record and let."""
        now_s = self._heed(now_s)
        if number > self._numbers.get(holder, 0):
            self._numbers[holder] = number
            for claim in claims:
                self._take(holder, claim, now_s)
        return [self._lease(holder, claim, now_s) for claim in claims]

    def _take(self, holder: str, claim: Claim, now_s: float) -> None:
        slots, window = self._slots[claim.account], window_at(claim.per, claim.zone, now_s)
        held = self._held[claim.account].get(holder, _NOTHING)
        moved = movement(held.used_total, claim.used_total)
        self._add(claim.account, slot_end_s(window, now_s), moved.spent)
        for end_s, given in refunded(slots, moved.refund, window, now_s).items():
            self._add(claim.account, end_s, -given)
        granted = granted_total(claim, use_in_window(slots, window), self._others(claim.account, holder))
        self._periods[claim.account] = (claim.per, claim.zone)
        self._held[claim.account][holder] = _Held(claim.used_total, granted)

    def _lease(self, holder: str, claim: Claim, now_s: float) -> Lease:
        slots, window = self._slots[claim.account], window_at(claim.per, claim.zone, now_s)
        return Lease(
            claim.account,
            self._held[claim.account].get(holder, _NOTHING).granted_total,
            use_in_window(slots, window),
            self._others(claim.account, holder),
            resets_at_s(window, _oldest(slots, window)),
            window.end_s,
        )

    def _others(self, account: str, holder: str) -> int:
        return sum(held.unused for name, held in self._held[account].items() if name != holder)

    def _add(self, account: str, end_s: float, amount: int) -> None:
        slots = self._slots[account]
        left = slots.get(end_s, 0) + amount
        if left:
            slots[end_s] = left
        else:
            slots.pop(end_s, None)

    def _heed(self, now_s: float) -> float:
        """Go by a clock that does not go back; forget what is in no window any more."""
        self._now_s = now_s = steady_now_s(self._now_s, now_s)
        latest_s = now_s + LONGEST_SLOT_S
        for account, slots in self._slots.items():
            for end_s in [end_s for end_s in slots if is_of_a_wrong_clock(end_s, now_s)]:
                self._add(account, latest_s, slots.pop(end_s))
            for end_s in sorted(slots)[:-KEPT_SLOTS]:
                if end_s < now_s - KEPT_S:
                    del slots[end_s]
        self._grants = {grant.id: grant for grant in self._grants.values() if grant.until_s > now_s - GRANTS_KEPT_S}
        return now_s

    def last_number(self, holder: str) -> int:
        """Return the holder's latest number."""
        return self._numbers.get(holder, 0)

    def holders(self) -> list[str]:
        """Return who has called."""
        return sorted(self._numbers)

    def abandon(self, holder: str, now_s: float) -> dict[str, int]:
        """Count what the holder has unused as used."""
        now_s = self._heed(now_s)
        self._numbers.pop(holder, None)
        lost = {}
        for account, by_holder in self._held.items():
            unused = by_holder.pop(holder, _NOTHING).unused
            if unused > 0:
                lost[account] = unused
                self._add(account, slot_end_s(window_at(*self._periods[account], now_s), now_s), unused)
        return lost

    def use(self, account: str) -> dict[float, int]:
        """Return what was used."""
        return dict(self._slots[account])

    def add_grant(self, grant: Grant, now_s: float) -> None:
        """Keep a grant."""
        now_s = self._heed(now_s)
        if sum(kept.until_s > now_s for kept in self._grants.values()) >= MAX_GRANTS:
            raise TooManyGrants
        if len(self._grants) >= MAX_GRANTS:
            del self._grants[min(self._grants.values(), key=lambda kept: kept.until_s).id]
        self._grants[grant.id] = grant

    def end_grant(self, grant_id: str, by: str, now_s: float) -> Grant | None:
        """Let a grant end."""
        found = self._grants.get(grant_id)
        if found is None or found.until_s <= now_s:
            return None
        self._grants[grant_id] = structs.replace(found, until_s=now_s, ended_by=by)
        return found

    def grants(self) -> list[Grant]:
        """Return all grants."""
        return sorted(self._grants.values(), key=lambda grant: (grant.at_s, grant.id))

    def tidy(self, now_s: float) -> None:
        """Forget idle accounts."""
        last_s = self._now_s
        now_s = self._heed(now_s)
        if now_s - last_s > TIDY_ON_TIME_S:
            return
        for account in list(self._slots):
            if not self._held[account] and max(self._slots[account], default=0.0) <= now_s - KEPT_S:
                del self._slots[account]

    def close(self) -> None:
        """Nothing is held open."""


def _oldest(slots: dict[float, int], window: Window) -> float | None:
    return min((end_s for end_s, used in slots.items() if end_s > window.start_s and used), default=None)
