"""What is hidden in a text, and what is not; and that no text takes long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.hiding import MOST_CHARACTERS, MOST_ITEMS, RULES, TOO_LONG, Hiding
from telemetry.logs.line import HIDDEN

MUST_HIDE = {
    "4111 1111 1111 1111": "[card]",
    "4111-1111-1111-1111": "[card]",
    "378282246310005": "[card]",
    "ada.lovelace+x@mail.example.org": "[email]",
    "DE89 3704 0044 0532 0130 00": "[iban]",
    "GB82WEST12345698765432": "[iban]",
    "+49 30 901820": "[phone]",
    "0044 20 7946 0018": "[phone]",
    "192.168.0.17": "[ip]",
    "2001:db8::8a2e:370:7334": "[ip]",
}
CREDENTIALS = (
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "msk_abcdefghijkl_0123456789abcdefghijklmn",
    "Bearer 0123456789abcdef",
    "password=hunter2000",
)
MUST_KEEP = (
    "the quick brown fox",
    "4111 1111 1111 1112",  # the check digit is wrong
    "0000 0000 0000 0000",
    "order 20260101 of 12345678901234567890123",
    "3.141592653589793",
    "at 10:45:30",
    "version 1.2.3",
    "999.999.999.999",
    "GB00WEST12345698765432",
    "me @ home",
)


@pytest.mark.parametrize("text", MUST_HIDE)
def test_what_tells_of_a_person_is_hidden_wherever_it_stands(text: str) -> None:
    hiding = Hiding(RULES)
    assert hiding.text(f"before {text}, after") == f"before {MUST_HIDE[text]}, after"
    assert hiding.hidden[MUST_HIDE[text][1:-1]] == 1


@pytest.mark.parametrize("text", MUST_HIDE)
@pytest.mark.parametrize("around", ["on 8 {} and 5 more", "a-12 {} words", "({})", "{}\n{}", "1 {} 2"])
def test_what_stands_beside_it_hides_it_from_no_rule(text: str, around: str) -> None:
    assert text not in Hiding(RULES).text(around.format(text, text))


@pytest.mark.parametrize("text", CREDENTIALS)
def test_credentials_are_hidden_whatever_policy_says(text: str) -> None:
    hiding = Hiding(())
    shown = hiding.text(f"before {text}, after")
    assert HIDDEN in shown
    assert text[-8:] not in shown
    assert hiding.hidden["credential"] == 1


@pytest.mark.parametrize("text", MUST_KEEP)
def test_what_only_looks_like_it_is_kept(text: str) -> None:
    hiding = Hiding(RULES)
    assert hiding.text(text) == text
    assert not +hiding.hidden


def test_a_rule_that_policy_leaves_out_hides_nothing() -> None:
    assert Hiding(("card",)).text("a@b.example") == "a@b.example"


def test_numbers_names_and_what_stands_under_the_name_of_a_secret_are_hidden_too() -> None:
    value = {"pay": 4111111111111111, "a@b.example": [1.5, True, None], "user_password": {"is": "x"}, "API-Key": 7}
    assert Hiding(RULES).value(value) == {
        "pay": "[card]",
        "[email]": [1.5, True, None],
        "user_password": HIDDEN,
        "API-Key": HIDDEN,
    }


def test_what_is_too_long_too_many_or_too_deep_is_cut_and_counted() -> None:
    hiding = Hiding(RULES)
    assert len(hiding.text("x" * (MOST_CHARACTERS + 1))) == MOST_CHARACTERS
    assert len(hiding.value([0] * (MOST_ITEMS + 1))) == MOST_ITEMS
    deep: Any = "a@b.example"
    for _ in range(100):
        deep = [deep]
    assert "example" not in json.dumps(hiding.value(deep))
    assert hiding.hidden[TOO_LONG] == 3


@given(st.text(alphabet="0123456789 -@.:+aA", max_size=300))
def test_nothing_that_is_hidden_is_found_again(text: str) -> None:
    hiding = Hiding(RULES)
    shown = hiding.text(text)
    again = Hiding(RULES)
    again.text(shown)
    assert hiding.hidden or shown == text


def luhn(digits: str) -> bool:
    """Whether the check digit is right, as textbooks say it."""
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(sum(map(int, str(one))) for one in doubled) % 10 == 0


@given(st.text("0123456789", min_size=12, max_size=20), st.integers(1, 9))
def test_a_number_is_a_cards_if_its_check_digit_is_right(digits: str, first: int) -> None:
    text = f"{first}{digits[1:]}"
    is_card = 13 <= len(text) <= 19 and luhn(text) and len(set(text)) > 1
    assert (Hiding(("card",)).text(text) == "[card]") is is_card
