"""Who shows many wrong credentials is told to wait."""

from __future__ import annotations

import pytest

from gateway.decide.bad_keys import MAX_SOURCES, PERIOD_S, TRIES, BadKeys, source_of
from gateway.decide.decision import Refusal

UNKNOWN = Refusal("key_unknown", "the API key is not known here")


def tried(bad_keys: BadKeys, times: int, *, address: str = "192.0.2.7", now_s: float = 0.0) -> list[str]:
    return [bad_keys.back_off(UNKNOWN, address, now_s).reason for _ in range(times)]


def test_the_first_tries_are_answered_as_they_are_and_the_next_must_wait() -> None:
    bad_keys = BadKeys()
    assert set(tried(bad_keys, TRIES)) == {"key_unknown"}
    late = bad_keys.back_off(UNKNOWN, "192.0.2.7", 4.0)
    assert (late.reason, late.retry_after_s) == ("too_many_bad_keys", PERIOD_S - 4.0)


def test_a_new_period_begins_with_new_tries() -> None:
    bad_keys = BadKeys()
    tried(bad_keys, TRIES + 100)
    assert set(tried(bad_keys, TRIES, now_s=PERIOD_S)) == {"key_unknown"}
    assert set(tried(bad_keys, 5, now_s=PERIOD_S + 1.0)) == {"too_many_bad_keys"}


def test_one_address_costs_another_nothing() -> None:
    bad_keys = BadKeys()
    tried(bad_keys, TRIES + 1)
    assert tried(bad_keys, 1, address="192.0.2.8") == ["key_unknown"]


@pytest.mark.parametrize(
    "reason", ["key_missing", "key_revoked", "key_not_valid_now", "model_not_allowed", "bad_header"]
)
def test_only_guesses_count(reason: str) -> None:
    bad_keys = BadKeys()
    for _ in range(TRIES + 10):
        refusal = Refusal(reason, "")
        assert bad_keys.back_off(refusal, "192.0.2.7", 0.0) is refusal
    assert len(bad_keys) == 0


def test_a_socket_without_an_address_is_not_counted() -> None:
    assert set(tried(BadKeys(), TRIES + 10, address="")) == {"key_unknown"}


def test_ten_thousand_sources_are_known_and_the_first_to_begin_makes_room() -> None:
    bad_keys = BadKeys()
    tried(bad_keys, TRIES + 1, address="192.0.2.1")
    tried(bad_keys, TRIES + 1, address="192.0.2.2", now_s=1.0)
    for number in range(MAX_SOURCES - 1):
        tried(bad_keys, 1, address=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", now_s=2.0)
    assert len(bad_keys) == MAX_SOURCES
    assert tried(bad_keys, 1, address="192.0.2.2", now_s=3.0) == ["too_many_bad_keys"]
    assert tried(bad_keys, 1, address="192.0.2.1", now_s=3.0) == ["key_unknown"]


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("not:an:address", "not:an:address"),
    ],
)
def test_a_caller_holds_one_address_or_a_network_of_ipv6(address: str, source: str) -> None:
    assert source_of(address) == source
