"""A wait is written so that people can read it, and never shorter than it is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.waits import wait_text

UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86400}


@pytest.mark.parametrize(
    ("wait_s", "text"),
    [
        (0.0, "0 s"),
        (0.2, "1 s"),
        (120.0, "120 s"),
        (120.5, "3 min"),
        (3600.0, "1 h"),
        (53796.0, "14 h 57 min"),
        (86399.0, "1 d"),
        (90000.0, "1 d 1 h"),
        (30 * 86400.0, "30 d"),
    ],
)
def test_a_wait_is_exact_while_it_is_short(wait_s: float, text: str) -> None:
    assert wait_text(wait_s) == text


@given(st.floats(min_value=0.0, max_value=1e9))
def test_who_comes_back_after_the_text_s_time_is_not_too_early_and_not_far_too_late(wait_s: float) -> None:
    told_s = sum(int(count) * UNITS_S[unit] for count, unit in re.findall(r"(\d+) (\w+)", wait_text(wait_s)))
    assert wait_s <= told_s <= max(wait_s + 1, wait_s * 1.5)
