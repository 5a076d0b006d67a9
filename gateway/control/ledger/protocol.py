"""What every ledger keeps and answers, whatever it is stored in.

A gateway (a holder) never spends what the ledger has not let it have. It tells how much it has used since it began and
how much it still holds, and asks for more; the answer is recorded before it is given. All numbers of a holder are
cumulative and its calls are numbered: a call that comes twice or late changes nothing, and an answer that was lost is
made up for by the next. What a holder has not used counts as used until it tells otherwise or is abandoned, so for
every account and every window

    what all holders have spent  <=  used + outstanding  <=  cap        (where no cap was lowered meanwhile)

Time is the caller's here, and never goes back by less than ``CLOCK_SET_BACK_S``: it stands still instead. A ledger
that several machines share goes by its own clock and ignores theirs. An account's name begins with its tenant's, which
a store that is split over machines can use to keep a tenant's accounts together; nothing needs two tenants at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

# A clock that goes back less is waited for; one that goes back more was wrong before.
CLOCK_SET_BACK_S = 3600.0
# What was reserved and comes back belongs to a request, and requests last less.
REFUND_WITHIN_S = 600.0
TIDY_ON_TIME_S = 86_400.0
# Those that count; of those that have ended, as many more are kept as there is room.
MAX_GRANTS = 1_000
# What an ended grant was is shown for so long at most.
GRANTS_KEPT_S = 90 * 86_400.0


class LedgerUnavailable(Exception):
    """Nothing was recorded and nothing is let; its text says why and what to do, without naming the ledger."""


class TooManyGrants(Exception):
    """``MAX_GRANTS`` count already."""


class Claim(Struct, frozen=True, gc=False):
    """What a holder says of one account.

    Attributes:
        per, zone: the quota's period, as policy files name it.
        cap: most that may be used in a window, None for any amount.
        used_total: spent and reserved by this holder since it began; what was reserved may come back.
        held_total: most that its ``used_total`` can reach with what it has; less than it was let returns the rest.
        want: how much it would like to have unused.
    """

    account: str
    per: str
    zone: str
    cap: int | None
    used_total: int
    held_total: int
    want: int


class Lease(Struct, frozen=True, gc=False):
    """What a holder may have of one account.

    Attributes:
        granted_total: its ``used_total`` may grow up to this; never less than what it held.
        window_used: by all holders in the present window, without what they hold unused.
        outstanding_others: what other holders have unused.
        resets_at_s: when use falls next.
        window_end_s: until when ``window_used`` is of the present window.
    """

    account: str
    granted_total: int
    window_used: int
    outstanding_others: int
    resets_at_s: float
    window_end_s: float


class Grant(Struct, frozen=True):
    """An amount on top of a quota for a while.

    Attributes:
        until_s: from then on it counts no more.
        owner: who granted it.
        ended_by: who took it back before its time, "" for nobody.
    """

    id: str
    account: str
    amount: int
    until_s: float
    owner: str
    reason: str
    at_s: float
    ended_by: str = ""


class Ledger(Protocol):
    """A store of leases, use and grants. Each method is one atomic step and may block."""

    def renew(self, holder: str, number: int, claims: Sequence[Claim], now_s: float) -> list[Lease]:
        """Record what the holder used, and let it have more; all of each account or nothing of it.

        Args:
            number: of the holder's call; one that is not higher than those before changes nothing.

        Returns:
            One lease per claim, in order. They are answers only to the holder's latest call.

        Raises:
            LedgerUnavailable: nothing was changed.
        """
        ...

    def last_number(self, holder: str) -> int:
        """Return the number of the holder's latest call, 0 before the first."""
        ...

    def holders(self) -> list[str]:
        """Return whoever has called and was not abandoned."""
        ...

    def abandon(self, holder: str, now_s: float) -> dict[str, int]:
        """Count what the holder has unused as used now, and forget the holder; return how much, by account."""
        ...

    def use(self, account: str) -> dict[float, int]:
        """Return what was used, by the end of its slot."""
        ...

    def add_grant(self, grant: Grant, now_s: float) -> None:
        """Keep a grant; when there is no room, the one that ended first is forgotten.

        Raises:
            TooManyGrants: it is not kept, as none of those there are has ended.
        """
        ...

    def end_grant(self, grant_id: str, by: str, now_s: float) -> Grant | None:
        """Let a grant end now and return it as it was; None when there is none of this id that counts."""
        ...

    def grants(self) -> list[Grant]:
        """Return all grants, those that have ended lately too, by when they were made."""
        ...

    def tidy(self, now_s: float) -> None:
        """Forget accounts that nobody holds and nobody used for longer than any window.

        Not if the clock went on by more than a day since the latest call: it may be wrong.
        """
        ...

    def close(self) -> None:
        """Give back what the store holds open."""
        ...
