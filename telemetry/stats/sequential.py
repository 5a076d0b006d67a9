"""Decides by evidence that may be looked at after every event: tests whose verdicts hold whenever one stops.

A test watches a claim by betting against its opposite: an *e-value* is what one unit of money has become. While the
opposite is true no way of betting gains on average, at whatever moment one looks, so the chance that an e-value ever
reaches ``1 / alpha`` is at most ``alpha`` (Ville's inequality). That is why these tests may be looked at each second,
where one that is made for a fixed number of events raises false alarms. How much is gained by a test depends on how it
bets; each here spreads its money over a small grid of bets, and an average of e-values is an e-value.

Source: Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", 2023
(arXiv 2210.01948); for bounded means by betting, Waudby-Smith and Ramdas, 2024 (arXiv 2010.09686).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from math import ceil, exp, inf, log, log1p
from operator import add

from msgspec import Struct
from msgspec.structs import replace

LARGEST = 1e300
"""E-values are not told above this, so that they stay numbers in JSON."""

_LARGEST_LOG = log(LARGEST)

# --- a ratio of rates, from bad events alone

HARM_GRID = (1.4, 2.1, 3.3, 5.4, 10.0, 20.0)
"""Ratios bet on against "not harmful", as multiples of ``harmful_above``. Above 1.2, with 400 as proof, a ratio of 5 at
a share of 5 % takes a median of 52 bad events, and one of 20 at 1 % takes 22; a finer or wider grid takes more."""

SAFE_GRID = (0.8, 2 / 3, 0.45)
"""Ratios bet on against "not safe", as multiples of ``safe_below``: of 1.5, 2/3 is a version that is as good."""


EVEN_SHARE = 0.5
"""The part of a canary in what happens to pods and not to keys, where both versions have as many of them."""


class RatioTest(Struct, frozen=True):
    """Whether one of two versions has bad events more often, by which of both each bad event falls to.

    With a share ``w`` of what is assigned, a version that is bad ``r`` times as often gets the next bad event with the
    chance ``w r / (w r + 1 - w)``. The rate of bad events itself cancels out: daily cycles and bursts do not matter,
    and good events are not needed. The share may change from event to event.

    Two claims are watched: harm against ``r <= harmful_above`` and safe against ``r >= safe_below``. For each, bets on
    several ratios beyond the limit are made at the chances of the limit itself, which is the worst of its side.

    Events have to be independent in which version they fall to: one per sticky key, never one per request. Twenty bad
    requests of one broken key would look like proof.

    Attributes:
        harm_logs, safe_logs: logarithms of what each bet of the grids has become, with its part of the money.
        events: that were seen, ``canary_events`` of them in the version in question.
        expected: so many of them would be its part if both were equally good.
    """

    harmful_above: float
    safe_below: float
    harm_logs: tuple[float, ...]
    safe_logs: tuple[float, ...]
    events: int = 0
    canary_events: int = 0
    expected: float = 0.0

    @classmethod
    def begun(cls, harmful_above: float, safe_below: float) -> RatioTest:
        """Return a test that has seen nothing."""
        return cls(harmful_above, safe_below, _even_logs(len(HARM_GRID)), _even_logs(len(SAFE_GRID)))

    def seen(self, in_canary: bool, share: float, *, is_one_of_many: bool = False) -> RatioTest:
        """Return the test after one more bad event.

        Args:
            share: chance that what it happened to is assigned to the canary, at that moment. At 0 and 1 there is
                nothing to compare, and the event is no evidence.
            is_one_of_many: others happened at the same moment, maybe for one cause such as a pod that stalls. Such
                causes need not fall to versions by their shares, for a canary with a twentieth of the keys may have
                half of the pods: each bet gains what it would at the worse of both chances.
        """
        if not 0.0 < share < 1.0:
            return self
        factors = _ratio_factors(self.harmful_above, self.safe_below, share)[in_canary]
        if is_one_of_many:
            others = _ratio_factors(self.harmful_above, self.safe_below, EVEN_SHARE)[in_canary]
            factors = _Factors(tuple(map(min, factors.harm, others.harm)), tuple(map(min, factors.safe, others.safe)))
        return RatioTest(
            self.harmful_above,
            self.safe_below,
            _added(self.harm_logs, factors.harm),
            _added(self.safe_logs, factors.safe),
            self.events + 1,
            self.canary_events + in_canary,
            self.expected + share,
        )

    @property
    def harm(self) -> float:
        """The e-value of "bad more than ``harmful_above`` times as often"."""
        return _e_value(self.harm_logs)

    @property
    def safe(self) -> float:
        """The e-value of "bad less than ``safe_below`` times as often"."""
        return _e_value(self.safe_logs)

    @property
    def ratio(self) -> float | None:
        """How many times as often it is bad, as far as can be seen; None before both had a bad event."""
        if not 0 < self.canary_events < self.events:
            return None
        share = self.expected / self.events
        return self.canary_events / (self.events - self.canary_events) * (1.0 - share) / share

    def expected_needed(self, share: float, harm_at: float, safe_at: float) -> int | None:
        """Return about how many more bad events decide, should they fall as they did so far.

        Before there are many they are taken to fall as those of equally good versions would.

        Args:
            share: of the events to come.
            harm_at, safe_at: e-values that prove.

        Returns:
            0 when one is proved, None when neither comes nearer.
        """
        if self.harm >= harm_at or self.safe >= safe_at:
            return 0
        if not 0.0 < share < 1.0:
            return None
        # One event more of each kind, so that the first few do not decide.
        mean_share = (self.expected + 2 * share) / (self.events + 2)
        chance = (self.canary_events + 2 * share) / (self.events + 2)
        ratio = chance / (1.0 - chance) * (1.0 - mean_share) / mean_share
        chance = _chance(ratio, share)
        stable, canary = _ratio_factors(self.harmful_above, self.safe_below, share)
        harm = [chance * up + (1.0 - chance) * down for up, down in zip(canary.harm, stable.harm, strict=True)]
        safe = [chance * up + (1.0 - chance) * down for up, down in zip(canary.safe, stable.safe, strict=True)]
        return _fewest((_steps(self.harm_logs, harm, harm_at), _steps(self.safe_logs, safe, safe_at)))


class _Factors(Struct, frozen=True):
    """Logarithms of what one event makes of each bet."""

    harm: tuple[float, ...]
    safe: tuple[float, ...]


# A step has one share, or a few: what an event does to each bet is the same for all its events.
@lru_cache(maxsize=1024)
def _ratio_factors(harmful_above: float, safe_below: float, share: float) -> tuple[_Factors, _Factors]:
    """Return the factors of an event in stable, and of one in the canary."""
    harm = [(_chance(harmful_above * times, share), _chance(harmful_above, share)) for times in HARM_GRID]
    safe = [(_chance(safe_below * times, share), _chance(safe_below, share)) for times in SAFE_GRID]
    return (
        _Factors(tuple(_log_odds_left(*each) for each in harm), tuple(_log_odds_left(*each) for each in safe)),
        _Factors(tuple(log(bet / limit) for bet, limit in harm), tuple(log(bet / limit) for bet, limit in safe)),
    )


def _chance(ratio: float, share: float) -> float:
    """Return the chance that a bad event falls to a version that has ``share`` and is bad ``ratio`` times as often."""
    return share * ratio / (share * ratio + 1.0 - share)


def _log_odds_left(bet: float, limit: float) -> float:
    return log1p(-bet) - log1p(-limit)


# --- a rate below a budget

BUDGET_GRID = ((0.0, 0.7), (0.1, 0.1), (0.3, 0.1), (0.6, 0.1))
"""Rates bet on, as parts of the budget, and their parts of the money. Most is on none at all, so that about
``(ln(1 / alpha) + 0.4) / budget`` clean requests prove it."""


class BudgetTest(Struct, frozen=True):
    """Whether a rate of bad requests lies below a budget: what few or no bad events can prove.

    Requests count one by one, so that errors which come in clumps may hide for longer than independent ones would.

    Attributes:
        budget: share of requests that may be bad, 0 < budget < 1.
    """

    budget: float
    requests: int = 0
    bad: int = 0

    def seen(self, requests: int, bad: int) -> BudgetTest:
        """Return the test after more requests, of which some were bad."""
        return BudgetTest(self.budget, self.requests + requests, self.bad + bad)

    @property
    def within(self) -> float:
        """The e-value of "the rate is below the budget"."""
        return _e_value(self._logs())

    def expected_needed(self, at: float) -> int | None:
        """Return about how many more requests prove it, should they be as those so far; None when they never do."""
        if self.within >= at:
            return 0
        rate = self.bad / self.requests if self.requests else 0.0
        growths = [_mean_log(rate, part * self.budget, self.budget) for part, _ in BUDGET_GRID]
        return _steps(self._logs(), growths, at)

    def _logs(self) -> list[float]:
        clean = self.requests - self.bad
        return [
            log(money) + _times(self.bad, _log(part)) + clean * (log1p(-part * self.budget) - log1p(-self.budget))
            for part, money in BUDGET_GRID
        ]


def _mean_log(rate: float, bet: float, limit: float) -> float:
    """Return how the logarithm of a bet on the rate ``bet`` grows with each request."""
    return _times(rate, _log(bet / limit)) + (1.0 - rate) * (log1p(-bet) - log1p(-limit))


# --- a difference beyond noise


class Odd(StrEnum):
    """Which of three answers to one request is unlike the other two: stable's, stable's second one, and another's.

    Attributes:
        OTHER: stable's are alike, the other version's is unlike the first.
        STABLE: stable's second answer is like the other version's, its first is unlike both.
        NEITHER: all three are unlike, or the second is like both.
        UNKNOWN: there is no second answer, or it could not be compared.
    """

    OTHER = "other"
    STABLE = "stable"
    NEITHER = "neither"
    UNKNOWN = "unknown"


def odd_one(again_like_stable: bool, again_like_other: bool) -> Odd:
    """Return which answer is the odd one, where stable's first answer and the other version's differ.

    Args:
        again_like_stable: stable's second answer does not differ from its first.
        again_like_other: stable's second answer does not differ from the other version's.
    """
    if again_like_stable == again_like_other:
        return Odd.NEITHER
    return Odd.OTHER if again_like_stable else Odd.STABLE


DIFFERENCE_GRID = (0.98, 0.7, 0.4, 0.15, 0.05)
"""Parts of the largest bet, which can lose everything at once."""

_EVEN_DIFFERENCE_LOG = -log(len(DIFFERENCE_GRID))


class DifferenceTest(Struct, frozen=True):
    """Whether a version's answers differ from stable's more often than stable's own second answers do.

    ``differ`` is the share of requests to which the version answers differently than stable, ``noise`` that to which
    stable would when asked twice. *Differs* is ``differ > noise + margin``, *same* is ``differ < noise + margin``.

    Who is odd tells them apart. Where the two differ, stable is asked once more. If answers differ by noise alone, the
    three answers could be swapped, so that stable's first is the odd one as often as the other version's; and
    ``differ - noise`` is the share of requests with the other version odd less the share with stable's first odd, for
    stable's first and second answers may be swapped whatever the other version does. So every request counts 0, 1 or
    -1, and the claim is one about its mean: a mean of bounded numbers, tested by betting.

    Asking stable again where both agree would tell nothing here. That is what makes it quick: of a small random share
    of second answers, 40 of 2,000, none differs with a chance of 30 % even if the noise is 3 %, so that no sound test
    could call a version that differs on 3 % by then. Here each difference is worth asking for, and a dozen decide.

    Attributes:
        margin: 0 <= margin < 1.
        chance: with which stable is asked again where both differ, decided by chance alone before it is: 1.0 for
            always. Those not chosen are told by ``seen_alike``; each that is chosen stands for ``1 / chance``.
        alike, other_odd, stable_odd, neither_odd, unknown_odd: requests.
    """

    margin: float
    chance: float = 1.0
    alike: int = 0
    other_odd: int = 0
    stable_odd: int = 0
    neither_odd: int = 0
    unknown_odd: int = 0

    def seen_alike(self, requests: int = 1) -> DifferenceTest:
        """Return the test after requests to which both answers were alike, or stable was not to be asked again."""
        return replace(self, alike=self.alike + requests)

    def seen_different(self, odd: Odd) -> DifferenceTest:
        """Return the test after a request to which both answers differed, and stable was to be asked again.

        A second answer that failed is evidence for nothing: where *same* is concerned it counts as the other being odd.
        """
        match odd:
            case Odd.OTHER:
                return replace(self, other_odd=self.other_odd + 1)
            case Odd.STABLE:
                return replace(self, stable_odd=self.stable_odd + 1)
            case Odd.NEITHER:
                return replace(self, neither_odd=self.neither_odd + 1)
            case Odd.UNKNOWN:
                return replace(self, unknown_odd=self.unknown_odd + 1)

    @property
    def differs(self) -> float:
        """The e-value of "differs more often than noise and margin"."""
        return _e_value(self._differs_logs())

    @property
    def same(self) -> float:
        """The e-value of "differs less often than noise and margin"."""
        return _e_value(self._same_logs())

    @property
    def beyond_noise(self) -> float:
        """The share that differs less the noise, as far as can be seen; 0.0 before the first request."""
        known = self.alike + self.other_odd + self.stable_odd + self.neither_odd
        return (self.other_odd - self.stable_odd) / self.chance / known if known else 0.0

    def expected_needed(self, at: float) -> int | None:
        """Return about how many more requests decide, should they be as those so far; None when nobody can say."""
        if self.differs >= at or self.same >= at:
            return 0
        sample = self if self._requests else self.seen_alike()
        differs = _growths(sample._differs_logs(), sample._requests)
        same = _growths(sample._same_logs(), sample._requests)
        return _fewest((_steps(self._differs_logs(), differs, at), _steps(self._same_logs(), same, at)))

    @property
    def _requests(self) -> int:
        return self.alike + self.other_odd + self.stable_odd + self.neither_odd + self.unknown_odd

    def _differs_logs(self) -> list[float]:
        """Return the bets against "a mean of at most ``margin``"; what has no second answer is left out of them."""
        weight = 1.0 / self.chance
        none = self.alike + self.neither_odd
        return [
            _EVEN_DIFFERENCE_LOG
            + none * log1p(-bet * self.margin)
            + self.other_odd * log1p(bet * (weight - self.margin))
            + self.stable_odd * log1p(-bet * (weight + self.margin))
            for bet in (part / (weight + self.margin) for part in DIFFERENCE_GRID)
        ]

    def _same_logs(self) -> list[float]:
        """Return the bets against "a mean of at least ``margin``"."""
        weight = 1.0 / self.chance
        none = self.alike + self.neither_odd
        return [
            _EVEN_DIFFERENCE_LOG
            + none * log1p(bet * self.margin)
            + (self.other_odd + self.unknown_odd) * log1p(-bet * (weight - self.margin))
            + self.stable_odd * log1p(bet * (weight + self.margin))
            for bet in (part / (weight - self.margin) for part in DIFFERENCE_GRID)
        ]


def _growths(logs: Sequence[float], events: int) -> list[float]:
    """Return by how much each bet of an even grid grew with each event on average."""
    return [(each + log(len(logs))) / events for each in logs]


# --- pairs in which one side is better

PAIR_GRID = (0.6, 0.75, 0.9, 0.99)
"""Chances bet on, that of two which are not alike it is the one in question."""


class PairTest(Struct, frozen=True):
    """Whether of two sides judged in pairs one is worse more often: a sequential sign test.

    Pairs in which both are right, or both wrong, say nothing, and are not counted. Source: McNemar, 1947, for the
    pairs; the bets are those of a coin that is said to be fair.

    Attributes:
        worse: pairs in which only the other side was right; better: those in which only this side was.
    """

    worse: int = 0
    better: int = 0

    def seen(self, worse: int, better: int) -> PairTest:
        """Return the test after more pairs."""
        return PairTest(self.worse + worse, self.better + better)

    @property
    def is_worse(self) -> float:
        """The e-value of "worse more often than better"."""
        return _e_value(_pair_logs(self.worse, self.better))


def _pair_logs(wins: int, losses: int) -> list[float]:
    return [wins * log(2.0 * bet) + losses * log(2.0 * (1.0 - bet)) - log(len(PAIR_GRID)) for bet in PAIR_GRID]


# --- what they share


def _even_logs(bets: int) -> tuple[float, ...]:
    return (-log(bets),) * bets


def _added(logs: tuple[float, ...], factors: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(add, logs, factors))


def _e_value(logs: Sequence[float]) -> float:
    """Return what all bets have become together, at most ``LARGEST``."""
    largest = max(logs)
    if largest >= _LARGEST_LOG:
        return LARGEST
    return exp(largest) * sum([exp(each - largest) for each in logs])


def _steps(logs: Sequence[float], growths: Sequence[float], at: float) -> int | None:
    """Return how many steps it takes until one bet alone is worth ``at``; None when none grows."""
    return _fewest(
        max(1, ceil((log(at) - each) / growth)) for each, growth in zip(logs, growths, strict=True) if growth > 1e-9
    )


def _fewest(steps: Iterable[int | None]) -> int | None:
    return min((each for each in steps if each is not None), default=None)


def _times(count: float, value: float) -> float:
    """Return the product, where nothing of minus infinity is nothing."""
    return count * value if count else 0.0


def _log(value: float) -> float:
    return log(value) if value > 0.0 else -inf
