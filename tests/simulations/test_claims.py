"""Confidence bounds are Clopper and Pearson's, and the claims of the simulations hold at the size of a test run."""

from __future__ import annotations

from random import Random

import pytest

from tests.simulations import canary, differences
from tests.simulations.claims import FULL_RUNS, Claim, Finding, Outcome, bounds, examine

SMALL_RUNS = 40


def test_bounds_are_those_of_tables() -> None:
    assert bounds(0, 100)[0] == 0.0
    assert bounds(100, 100)[1] == 1.0
    # The only ones with a short formula.
    assert bounds(0, 100)[1] == pytest.approx(1 - 0.01**0.01)
    assert bounds(100, 100)[0] == pytest.approx(0.01**0.01)
    # By scipy 1.17, beta.ppf(0.01, 10, 991) and beta.ppf(0.99, 11, 990).
    assert bounds(10, 1000)[0] == pytest.approx(0.004140298065)
    assert bounds(10, 1000)[1] == pytest.approx(0.020042605901)


def never(chance: Random, is_full: bool) -> Outcome:
    return Outcome(False, 0)


def finding(hits: int, runs: int, is_at_most: bool) -> Finding:
    claim = Claim("some", never, 0.01 if is_at_most else 0.5, is_at_most)
    return Finding(claim, [Outcome(number < hits, 0) for number in range(runs)])


def test_many_runs_have_to_show_a_claim_and_few_only_not_to_refute_it() -> None:
    assert finding(20, FULL_RUNS, is_at_most=True).holds
    assert not finding(38, FULL_RUNS, is_at_most=True).holds
    assert finding(2, 40, is_at_most=True).holds
    assert not finding(5, 40, is_at_most=True).holds
    assert finding(2100, FULL_RUNS, is_at_most=False).holds
    assert not finding(2001, FULL_RUNS, is_at_most=False).holds
    assert finding(13, 40, is_at_most=False).holds
    assert not finding(10, 40, is_at_most=False).holds


@pytest.mark.parametrize("claim", [*canary.CLAIMS, *differences.CLAIMS], ids=lambda claim: claim.name)
def test_a_claim_is_not_refuted(claim: Claim) -> None:
    found = examine(claim, SMALL_RUNS, is_full=False)
    assert found.holds, str(found)
