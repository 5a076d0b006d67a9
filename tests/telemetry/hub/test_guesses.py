"""Guessing is slowed down, and what is remembered of it has a bound."""

from __future__ import annotations

import pytest

from telemetry.hub import guesses
from telemetry.hub.guesses import OF_A_SOURCE, OF_EVERYBODY, PERIOD_S, SOURCES, Guesses, source_of


def guessed(count: int, address: str = "10.0.0.1", at_s: float = 100.0) -> Guesses:
    made = Guesses()
    for _ in range(count):
        made.wrong(address, at_s)
    return made


def test_after_some_wrong_ones_a_source_waits_for_a_minute_and_others_do_not() -> None:
    assert guessed(OF_A_SOURCE - 1).wait("10.0.0.1", 100.0).seconds == 0
    full = guessed(OF_A_SOURCE)
    assert full.wait("10.0.0.1", 100.0).seconds == PERIOD_S
    assert full.wait("10.0.0.1", 130.5).seconds == 30
    assert full.wait("10.0.0.1", 100.0 + PERIOD_S).seconds == 0
    assert full.wait("10.0.0.2", 100.0).seconds == 0


def test_many_sources_together_wait_too() -> None:
    made = Guesses()
    for number in range(OF_EVERYBODY):
        made.wrong(f"10.0.{number // 250}.{number % 250}", 100.0)
    assert made.wait("192.0.2.1", 101.0).seconds == PERIOD_S - 1


def test_what_is_remembered_has_a_bound() -> None:
    made = Guesses()
    for number in range(SOURCES * 2):
        made.wrong(f"2001:db8:{number:x}::1", float(number))
    assert len(made._of_source) == SOURCES
    assert made.wait("10.0.0.1", 1e9).seconds == 0


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_a_network_of_ipv6_is_one_source(address: str, source: str) -> None:
    assert source_of(address) == source
    assert guesses.PERIOD_S == 60.0
