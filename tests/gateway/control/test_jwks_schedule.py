"""When keys are fetched, and until when they are trusted."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.jwks_schedule import (
    EXTRA_FETCH_EVERY_S,
    IssuerStanding,
    failed,
    fetched,
    stale_s,
    trusted_keys,
    wanted,
)
from tests.fakes.issuer import trusted_issuer

ISSUER = trusted_issuer(refresh_s=600.0, keep_stale_s=3600.0)
FETCHED = fetched(IssuerStanding(), ISSUER, b"keys", 1000.0, 0.5)


def test_a_fetch_is_followed_by_the_next_a_refresh_later() -> None:
    assert IssuerStanding(b"keys", 1000.0, 0, 1600.0, 1000.0 + EXTRA_FETCH_EVERY_S) == FETCHED


@given(st.floats(0.0, 1.0))
def test_gateways_that_start_together_do_not_fetch_together(draw: float) -> None:
    assert 1540.0 <= fetched(IssuerStanding(), ISSUER, b"", 1000.0, draw).next_s <= 1660.0


def test_failures_are_retried_ever_more_slowly_and_keep_what_was_fetched() -> None:
    standing, pauses = FETCHED, []
    for _ in range(8):
        before_s = standing.next_s
        standing = failed(standing, ISSUER, before_s, 0.5)
        pauses.append(standing.next_s - before_s)
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert (standing.jwks, standing.fetched_s, standing.failures) == (b"keys", 1000.0, 8)


def test_an_unknown_key_brings_the_next_fetch_forward_once_in_thirty_seconds() -> None:
    assert wanted(FETCHED, 1029.9) is FETCHED
    soon = wanted(FETCHED, 1030.0)
    assert soon.next_s == 1030.0
    assert wanted(soon, 1059.9) is soon


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=200), st.booleans())
def test_made_up_key_names_cause_no_more_than_one_fetch_in_thirty_seconds(gaps_s: list[float], fails: bool) -> None:
    standing, now_s, fetches = FETCHED, 1000.0, 0
    for gap_s in gaps_s:
        now_s += gap_s
        standing = wanted(standing, now_s)
        if standing.next_s <= now_s:
            fetches += 1
            done = failed(standing, ISSUER, now_s, 0.5) if fails else fetched(standing, ISSUER, b"keys", now_s, 0.5)
            standing = IssuerStanding(done.jwks, done.fetched_s, done.failures, math.inf, done.extra_from_s)
    assert fetches <= (now_s - 1000.0) / EXTRA_FETCH_EVERY_S


def test_keys_are_trusted_for_as_long_as_policy_says() -> None:
    assert trusted_keys(FETCHED, ISSUER, 4599.9) == b"keys"
    assert trusted_keys(FETCHED, ISSUER, 4600.0) == b""
    assert trusted_keys(IssuerStanding(), ISSUER, 0.0) == b""


def test_staleness_counts_while_fetches_fail() -> None:
    assert stale_s(FETCHED, 0.0, 1500.0) == 0.0
    assert stale_s(failed(FETCHED, ISSUER, 1600.0, 0.5), 0.0, 1700.0) == 700.0
    assert stale_s(failed(IssuerStanding(), ISSUER, 10.0, 0.5), 5.0, 25.0) == 20.0
