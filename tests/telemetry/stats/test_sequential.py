"""Sequential tests: e-values are the products they are said to be, and prove neither too soon nor too late."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.stats.sequential import (
    DIFFERENCE_GRID,
    HARM_GRID,
    LARGEST,
    PAIR_GRID,
    SAFE_GRID,
    BudgetTest,
    DifferenceTest,
    Odd,
    PairTest,
    RatioTest,
    odd_one,
)

SHARES = st.sampled_from((0.01, 0.05, 0.25, 0.5, 0.9))
EVENTS = st.lists(st.tuples(st.booleans(), SHARES), max_size=40)


def told(events: list[tuple[bool, float]], harmful_above: float = 1.2, safe_below: float = 1.5) -> RatioTest:
    test = RatioTest.begun(harmful_above, safe_below)
    for in_canary, share in events:
        test = test.seen(in_canary, share)
    return test


def product(events: list[tuple[bool, float]], limit: float, grid: tuple[float, ...]) -> Fraction:
    """The mixture of likelihood ratios, of whole fractions."""

    def chance(ratio: Fraction, share: Fraction) -> Fraction:
        return share * ratio / (share * ratio + 1 - share)

    whole = Fraction(0)
    for times in grid:
        bet = Fraction(1, len(grid))
        for in_canary, each in events:
            share = Fraction(each)
            said, held = chance(Fraction(limit * times), share), chance(Fraction(limit), share)
            bet *= said / held if in_canary else (1 - said) / (1 - held)
        whole += bet
    return whole


@given(EVENTS)
def test_the_e_values_of_a_ratio_are_mixtures_of_likelihood_ratios(events: list[tuple[bool, float]]) -> None:
    test = told(events)
    assert test.harm == pytest.approx(float(product(events, 1.2, HARM_GRID)), rel=1e-9)
    assert test.safe == pytest.approx(float(product(events, 1.5, SAFE_GRID)), rel=1e-9)


@given(EVENTS, st.randoms(use_true_random=False))
def test_the_order_of_events_is_no_evidence(events: list[tuple[bool, float]], chance: random.Random) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert told(shuffled).harm == pytest.approx(told(events).harm, rel=1e-9)
    assert told(shuffled).safe == pytest.approx(told(events).safe, rel=1e-9)


@given(EVENTS, SHARES)
def test_a_bad_event_of_the_canary_is_never_good_for_it_and_one_of_stable_never_bad(
    events: list[tuple[bool, float]], share: float
) -> None:
    before = told(events)
    worse, better = before.seen(True, share), before.seen(False, share)
    assert better.harm < before.harm < worse.harm
    assert worse.safe < before.safe < better.safe


@given(st.floats(0.001, 0.999), st.floats(0.01, 1.2), st.floats(1.5, 100.0))
def test_no_ratio_within_the_limit_gains_by_one_more_event(share: float, harmless: float, unsafe: float) -> None:
    """The property that all rests on: while the opposite is true, an e-value does not grow on average."""

    def mean(ratio: float, of_canary: float, of_stable: float) -> float:
        chance = share * ratio / (share * ratio + 1 - share)
        return chance * of_canary + (1 - chance) * of_stable

    worse, better = told([(True, share)]), told([(False, share)])
    assert mean(harmless, worse.harm, better.harm) <= 1.0 + 1e-9
    assert mean(unsafe, worse.safe, better.safe) <= 1.0 + 1e-9


def chance_of_harm(share: float, ratio: float, within: int, harm_at: float) -> float:
    """The chance that harm is proved at any of so many events: the sum over all ways in which they can fall."""
    chance = share * ratio / (share * ratio + 1 - share)
    proved = 0.0
    undecided = {0: (1.0, told([]))}
    for _ in range(within):
        following: dict[int, tuple[float, RatioTest]] = {}
        for of_canary, (weight, test) in undecided.items():
            for in_canary, part in ((False, 1 - chance), (True, chance)):
                after = test.seen(in_canary, share)
                if after.harm >= harm_at:
                    proved += weight * part
                elif weight * part > 1e-12:
                    before = following.get(of_canary + in_canary, (0.0, after))[0]
                    following[of_canary + in_canary] = (before + weight * part, after)
        undecided = following
    return proved


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5])
def test_the_exact_chance_of_a_false_alarm_is_within_what_is_accepted(share: float) -> None:
    assert chance_of_harm(share, 1.2, 120, 100.0) <= 0.01
    assert chance_of_harm(share, 1.0, 120, 400.0) <= 0.0005


@pytest.mark.parametrize(("share", "ratio", "within"), [(0.05, 5.0, 60), (0.01, 20.0, 25)])
def test_at_four_steps_half_of_all_bad_canaries_are_caught_in_time(share: float, ratio: float, within: int) -> None:
    assert chance_of_harm(share, ratio, within, 400.0) > 0.55


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_where_there_is_one_version_only_nothing_is_learnt(share: float) -> None:
    assert told([(True, share), (False, share)]) == told([])


def test_a_thousand_bad_events_stay_a_number() -> None:
    test = told([(True, 0.01)] * 5000)
    assert test.harm == LARGEST
    assert test.safe == 0.0
    assert told([(False, 0.01)] * 100_000).safe == LARGEST


def test_the_ratio_that_is_seen_is_of_odds_and_unknown_until_both_had_one() -> None:
    assert told([(True, 0.05)]).ratio is None
    assert told([(True, 0.5)] * 3 + [(False, 0.5)]).ratio == pytest.approx(3.0)
    assert told([(True, 0.05)] * 5 + [(False, 0.05)] * 19).ratio == pytest.approx(5.0)


def test_what_is_needed_is_about_what_it_takes() -> None:
    events = [(count % 5 == 0, 0.05) for count in range(15)]
    test = told(events)
    needed = test.expected_needed(0.05, harm_at=400, safe_at=100)
    assert needed is not None
    taken = 0
    while test.harm < 400:
        test = test.seen((len(events) + taken) % 5 == 0, 0.05)
        taken += 1
    assert needed / 2 <= taken <= needed * 2
    assert test.expected_needed(0.05, harm_at=400, safe_at=100) == 0


def test_before_the_first_event_versions_are_taken_for_equal() -> None:
    test = told([])
    few, many = test.expected_needed(0.5, 400, 100), test.expected_needed(0.01, 400, 100)
    assert few is not None
    assert many is not None
    assert 100 < few < 400
    assert many > 3000
    assert test.expected_needed(1.0, 400, 100) is None


def test_what_lies_between_the_limits_is_never_decided() -> None:
    assert told([(True, 0.5)] * 1380 + [(False, 0.5)] * 1000).expected_needed(0.5, 1e9, 1e9) is None


# --- a rate below a budget


def test_a_budget_is_kept_by_about_as_many_clean_requests_as_its_logarithm_says() -> None:
    needed = BudgetTest(0.005).expected_needed(100.0)
    assert needed is not None
    assert math.log(100) / 0.005 < needed < (math.log(100) + 0.5) / 0.005
    assert BudgetTest(0.005).seen(needed, 0).within >= 100.0
    assert BudgetTest(0.005).seen(needed - 50, 0).within < 100.0


@given(st.floats(0.0001, 0.5), st.integers(0, 3000), st.integers(0, 3))
def test_a_bad_request_is_never_good_for_the_budget(budget: float, clean: int, bad: int) -> None:
    before = BudgetTest(budget, clean + bad, bad)
    assert before.seen(1, 1).within <= before.within <= before.seen(1, 0).within


@given(st.floats(0.0001, 0.5), st.floats(0.0, 1.0))
def test_no_rate_of_the_budget_or_above_gains(budget: float, beyond: float) -> None:
    rate = budget + beyond * (1 - budget)
    test = BudgetTest(budget)
    mean = rate * test.seen(1, 1).within + (1 - rate) * test.seen(1, 0).within
    assert mean <= 1.0 + 1e-9


def test_one_bad_request_among_many_still_proves_the_budget_and_many_do_not() -> None:
    assert BudgetTest(0.005, 3000, 1).within >= 100.0
    assert BudgetTest(0.005, 3000, 15).within < 1.0
    assert BudgetTest(0.005, 3000, 15).expected_needed(100.0) is None


# --- a difference beyond noise


def test_who_is_odd_is_the_one_that_the_other_two_agree_against() -> None:
    assert odd_one(again_like_stable=True, again_like_other=False) is Odd.OTHER
    assert odd_one(again_like_stable=False, again_like_other=True) is Odd.STABLE
    assert odd_one(again_like_stable=False, again_like_other=False) is Odd.NEITHER
    assert odd_one(again_like_stable=True, again_like_other=True) is Odd.NEITHER


@given(
    margin=st.floats(0.0, 0.2),
    chance=st.floats(0.01, 1.0),
    stable_odd=st.floats(0.0, 0.4),
    beyond=st.floats(0.0, 0.4),
    unknown=st.floats(0.0, 1.0),
)
def test_no_difference_within_the_limit_gains_by_one_more_request(
    margin: float, chance: float, stable_odd: float, beyond: float, unknown: float
) -> None:
    test = DifferenceTest(margin, chance)

    def asked(odd: Odd) -> tuple[float, float]:
        known, lost = test.seen_different(odd), test.seen_different(Odd.UNKNOWN)
        return (
            (1 - unknown) * known.differs + unknown * lost.differs,
            (1 - unknown) * known.same + unknown * lost.same,
        )

    def mean(other_odd: float, claim: int) -> float:
        alike = test.seen_alike()
        told = (alike.differs, alike.same)[claim]
        of_other = chance * asked(Odd.OTHER)[claim] + (1 - chance) * told
        of_stable = chance * asked(Odd.STABLE)[claim] + (1 - chance) * told
        return other_odd * of_other + stable_odd * of_stable + (1 - other_odd - stable_odd) * told

    # Where no second answer is lost, the limit itself is an exact fair game.
    assert mean(max(0.0, min(stable_odd + margin, 0.6) - beyond), 0) <= 1.0 + 1e-9
    assert mean(min(0.6, stable_odd + margin + beyond), 1) <= 1.0 + 1e-9


@given(st.integers(0, 2000), st.integers(0, 9), st.integers(0, 9), st.floats(0.0, 0.1))
def test_the_e_value_of_a_difference_is_a_mixture_of_products(
    alike: int, other: int, stable: int, margin: float
) -> None:
    test = DifferenceTest(margin).seen_alike(alike)
    for _ in range(other):
        test = test.seen_different(Odd.OTHER)
    for _ in range(stable):
        test = test.seen_different(Odd.STABLE)
    bets = [part / (1 + margin) for part in DIFFERENCE_GRID]
    products = [
        (1 - bet * margin) ** alike * (1 + bet * (1 - margin)) ** other * (1 - bet * (1 + margin)) ** stable
        for bet in bets
    ]
    assert test.differs == pytest.approx(sum(products) / len(products), rel=1e-9)


def test_a_version_that_is_the_same_is_called_so_after_some_hundred_requests() -> None:
    needed = DifferenceTest(0.01).expected_needed(100.0)
    assert needed is not None
    assert needed < 700
    assert DifferenceTest(0.01).seen_alike(needed).same >= 100.0
    assert DifferenceTest(0.01).seen_alike(needed).differs < 1.0


def test_a_version_that_always_differs_is_called_so_after_a_dozen_requests() -> None:
    test = DifferenceTest(0.01)
    for _ in range(12):
        test = test.seen_different(Odd.OTHER)
    assert test.differs >= 100.0
    assert test.beyond_noise == 1.0
    assert test.expected_needed(100.0) == 0


def test_second_answers_that_fail_prove_nothing() -> None:
    test = DifferenceTest(0.01)
    for _ in range(500):
        test = test.seen_different(Odd.UNKNOWN)
    assert test.differs == pytest.approx(1.0)
    assert test.same < 1e-3
    assert test.expected_needed(100.0) is None


def test_answers_that_differ_by_noise_are_odd_on_both_sides_and_the_same() -> None:
    test = DifferenceTest(0.01).seen_alike(9800)
    for _ in range(100):
        test = test.seen_different(Odd.OTHER).seen_different(Odd.STABLE)
    assert test.beyond_noise == 0.0
    assert test.same >= 100.0
    assert test.differs < 0.01


# --- pairs


@given(st.integers(0, 60), st.integers(0, 60))
def test_pairs_are_a_mixture_of_coins(worse: int, better: int) -> None:
    whole = sum(
        Fraction(1, len(PAIR_GRID)) * (2 * Fraction(bet)) ** worse * (2 - 2 * Fraction(bet)) ** better
        for bet in PAIR_GRID
    )
    test = PairTest().seen(worse, better)
    assert test.is_worse == pytest.approx(float(whole), rel=1e-9)


def test_a_dozen_pairs_on_one_side_are_enough_and_equal_ones_never() -> None:
    assert PairTest(worse=12).is_worse >= 100.0
    assert PairTest(worse=6).is_worse < 100.0
    assert PairTest(500, 500).is_worse < 1.0
