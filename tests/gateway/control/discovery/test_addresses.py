"""What a name stands for after each answer, and which pods that makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.desired import PodPlace
from gateway.control.discovery.addresses import (
    FIRST_LOOK_EVERY_S,
    LOOK_EVERY_S,
    MOST_ADDRESSES,
    STAYS_S,
    Known,
    answered,
    event,
    expanded,
    failed,
    name_in,
    names_of,
    unresolved,
)

NEW = Known(look_at_s=0.0)
STATIC = PodPlace("digits/1/0", "digits", "1", "unix:/p", None)
NAMED = PodPlace("digits/1/1", "digits", "1", "pods.local:8500", None)


def test_an_answer_counts_until_the_next_look_and_has_an_order_of_its_own() -> None:
    known = answered(NEW, ["10.0.0.2", "10.0.0.1", "10.0.0.2"], 100.0)
    assert known.addresses == ("10.0.0.1", "10.0.0.2")
    assert known.look_at_s == 100.0 + LOOK_EVERY_S


def test_addresses_that_an_answer_no_longer_has_are_gone() -> None:
    before = answered(NEW, ["10.0.0.1", "10.0.0.2"], 0.0)
    assert answered(before, ["10.0.0.2"], 5.0).addresses == ("10.0.0.2",)


def test_an_address_that_goes_stays_until_those_that_came_were_asked_how_they_are() -> None:
    before = answered(NEW, ["10.0.0.1", "10.0.0.2"], 0.0)
    moved = answered(before, ["10.0.0.2", "10.0.0.3"], 5.0)
    hosts = [place.address.partition(":")[0] for place in expanded([NAMED], {"pods.local": moved})]
    assert hosts == ["10.0.0.2", "10.0.0.3", "10.0.0.1"]
    assert moved.look_at_s == 5.0 + STAYS_S
    for after in (answered(moved, ["10.0.0.2", "10.0.0.3"], 7.0), failed(moved, "no such name", 7.0)):
        assert (after.addresses, after.going) == (("10.0.0.2", "10.0.0.3"), ())
        assert after.look_at_s == 7.0 + LOOK_EVERY_S


def test_a_failure_and_an_empty_answer_leave_what_was_known() -> None:
    before = answered(NEW, ["10.0.0.1"], 0.0)
    for after in (failed(before, "no such name", 5.0), answered(before, [], 5.0)):
        assert after.addresses == ("10.0.0.1",)
        assert after.trouble
        assert after.look_at_s == 5.0 + LOOK_EVERY_S


def test_a_name_that_was_never_answered_is_asked_again_sooner() -> None:
    after = failed(NEW, "no such name", 3.0)
    assert (after.addresses, after.look_at_s, after.is_asked) == ((), 3.0 + FIRST_LOOK_EVERY_S, True)


def test_of_a_name_with_addresses_of_both_kinds_those_of_ipv4_count() -> None:
    assert answered(NEW, ["::1", "127.0.0.1"], 0.0).addresses == ("127.0.0.1",)
    assert answered(NEW, ["fd00::2", "fd00::1"], 0.0).addresses == ("fd00::1", "fd00::2")


def test_more_addresses_than_are_followed_are_left_out_and_told() -> None:
    after = answered(NEW, [f"10.0.{one // 200}.{one % 200}" for one in range(MOST_ADDRESSES + 3)], 0.0)
    assert (len(after.addresses), after.left_out) == (MOST_ADDRESSES, 3)
    assert "3 more are left out" in event("pods.local", NEW, after)


@given(st.lists(st.one_of(st.none(), st.lists(st.ip_addresses(v=4).map(str), max_size=5)), max_size=12))
def test_once_a_name_was_answered_it_always_stands_for_the_last_answer_that_had_addresses(
    looks: list[list[str] | None],
) -> None:
    known, last = NEW, set[str]()
    for now_s, found in enumerate(looks):
        known = failed(known, "time-out", now_s) if found is None else answered(known, found, now_s)
        last = set(found) if found else last
        assert set(known.addresses) == last
        assert now_s < known.look_at_s <= now_s + LOOK_EVERY_S


def test_each_change_is_told_once() -> None:
    answer = answered(NEW, ["10.0.0.1"], 0.0)
    trouble = failed(answer, "no such name", 5.0)
    assert event("pods.local", NEW, answer) == "pods.local stands for 10.0.0.1"
    assert event("pods.local", answer, answered(answer, ["10.0.0.1"], 5.0)) == ""
    assert event("pods.local", answer, trouble).endswith("no such name; its 1 known addresses stay")
    assert event("pods.local", trouble, failed(trouble, "no such name", 10.0)) == ""
    assert event("pods.local", trouble, answered(trouble, ["10.0.0.1"], 10.0)) == "pods.local is resolved again"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("unix:/run/pods.local:80", ""),
        ("127.0.0.1:80", ""),
        ("[::1]:80", ""),
        ("[fe80::1%eth0]:80", ""),
        ("pods.local:80", "pods.local"),
        ("localhost:80", "localhost"),
    ],
)
def test_a_name_is_what_is_neither_a_path_nor_an_address(address: str, name: str) -> None:
    assert name_in(address) == name


def test_a_pod_stands_at_each_address_of_a_name_and_is_called_by_it() -> None:
    known = {"pods.local": answered(NEW, ["10.0.0.1", "10.0.0.2"], 0.0)}
    assert names_of([STATIC, NAMED]) == {"pods.local"}
    assert expanded([STATIC, NAMED, NAMED], known) == (
        STATIC,
        PodPlace("digits/1/10.0.0.1:8500", "digits", "1", "10.0.0.1:8500", None),
        PodPlace("digits/1/10.0.0.2:8500", "digits", "1", "10.0.0.2:8500", None),
    )


def test_an_address_of_ipv6_is_written_with_brackets_and_an_unknown_name_stands_for_no_pod() -> None:
    known = {"pods.local": answered(NEW, ["fd00::1"], 0.0)}
    assert [place.address for place in expanded([NAMED], known)] == ["[fd00::1]:8500"]
    assert expanded([NAMED], {}) == ()


def test_a_name_without_an_address_is_a_pod_that_tells_why_and_one_with_any_is_not() -> None:
    def told(known: Known) -> list[tuple[str, str]]:
        return [(place.name, why) for place, why in unresolved([STATIC, NAMED], {"pods.local": known})]

    assert told(NEW) == [("digits/1/pods.local:8500", "")]
    assert told(failed(NEW, "no such name", 1.0)) == [("digits/1/pods.local:8500", "no such name")]
    assert told(failed(answered(NEW, ["10.0.0.1"], 1.0), "no such name", 2.0)) == []
