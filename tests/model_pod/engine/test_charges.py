"""A batch's device time is paid by its rows, to the microsecond."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from model_pod.engine.charges import Held, charge_rows, divide

TOTALS_US = st.integers(0, 10**12)
WORK = st.lists(st.integers(1, 10**9), min_size=1, max_size=64)


@given(TOTALS_US, WORK)
def test_shares_are_the_total_and_none_is_a_whole_unit_from_exact(total_us: int, work: list[int]) -> None:
    shares = divide(total_us, work)
    assert sum(shares) == total_us
    for share, one in zip(shares, work, strict=True):
        assert abs(share - Fraction(total_us * one, sum(work))) < 1


@given(TOTALS_US, WORK)
def test_more_work_never_costs_less(total_us: int, work: list[int]) -> None:
    shares = divide(total_us, work)
    by_work = sorted(zip(work, shares, strict=True))
    assert [share for _, share in by_work] == sorted(shares)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[int], list[Held]]:
    """Rows with some tokens or none, and calls of the handler with runs of them."""
    tokens = draw(st.lists(st.integers(0, 5000), max_size=32))
    calls = []
    for _ in range(draw(st.integers(0, 8)) if tokens else 0):
        first = draw(st.integers(0, len(tokens) - 1))
        calls.append(Held(range(first, draw(st.integers(first + 1, len(tokens)))), draw(TOTALS_US)))
    return tokens, calls


@given(batches())
def test_rows_pay_what_their_calls_held_and_nothing_else(batch: tuple[list[int], list[Held]]) -> None:
    tokens, calls = batch
    charged_us = charge_rows(tokens, calls)
    assert len(charged_us) == len(tokens)
    assert sum(charged_us) == sum(call.device_us for call in calls)
    for place, own_us in enumerate(charged_us):
        assert own_us <= sum(call.device_us for call in calls if place in call.places)


def test_rows_that_all_have_tokens_pay_by_them() -> None:
    assert charge_rows([10, 30, 60], [Held(range(3), 1000)]) == (100, 300, 600)


def test_where_one_row_has_no_tokens_all_pay_alike() -> None:
    assert charge_rows([10, 0, 60], [Held(range(3), 900)]) == (300, 300, 300)


def test_what_cannot_be_divided_is_paid_by_the_first() -> None:
    assert charge_rows([0, 0, 0], [Held(range(3), 8)]) == (3, 3, 2)


def test_a_search_is_paid_by_the_rows_it_ran_and_only_by_them() -> None:
    search = [Held(range(4), 400), Held(range(2), 200), Held(range(1), 100), Held(range(1, 2), 50)]
    assert charge_rows([0, 0, 0, 0], search) == (300, 250, 100, 100)


def test_the_culprit_without_tokens_does_not_change_how_the_others_pay_among_themselves() -> None:
    assert charge_rows([30, 10, 0], [Held(range(3), 300), Held(range(2), 80), Held(range(2, 3), 5)]) == (160, 120, 105)
