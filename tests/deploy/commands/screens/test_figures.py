"""Figures where there is little room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.screens import figures


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (figures.rate(0.0), "0"),
        (figures.rate(0.254), "0.25"),
        (figures.rate(41.34), "41.3"),
        (figures.rate(1234.5), "1.23k"),
        (figures.share(None), "-"),
        (figures.share(0.00123), "0.12%"),
        (figures.share(0.1234), "12.3%"),
        (figures.share(1.0), "100%"),
        (figures.share(0.99999), "99.9%"),
        (figures.time(0.00085), "850us"),
        (figures.time(0.0031), "3.1ms"),
        (figures.time(0.123), "123ms"),
        (figures.time(1.25), "1.25s"),
        (figures.time(None), "-"),
        (figures.count(980), "980"),
        (figures.count(12_345), "12.3k"),
        (figures.mean(7.46), "7.5"),
        (figures.mean(127.9), "128"),
        (figures.budget(0.98, is_sure=True), "98%"),
        (figures.budget(-0.331, is_sure=False), "-33%?"),
        (figures.budget(-190.2, is_sure=True), "-190x"),
        (figures.budget(None, is_sure=False), "-"),
        (figures.whole_share(0.066), "7%"),
    ],
)
def test_figures_are_short(written: str, text: str) -> None:
    assert written == text


@given(st.floats(0, 1e11))
def test_no_figure_is_wider_than_its_column(number: float) -> None:
    assert len(figures.rate(number)) <= 5
    assert len(figures.mean(number)) <= 5
    assert len(figures.count(number)) <= 5
    assert len(figures.budget(-min(number, 9e8), is_sure=False)) <= 7


@given(st.floats(0, 1))
def test_no_share_is_wider_than_its_column(ratio: float) -> None:
    assert len(figures.share(ratio)) <= 5
    assert len(figures.whole_share(ratio)) <= 4


@given(st.floats(0, 9000))
def test_no_time_is_wider_than_its_column(seconds: float) -> None:
    assert len(figures.time(seconds)) <= 5
