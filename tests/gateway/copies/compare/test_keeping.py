"""Of a difference nothing is kept but what policy allows."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.compare.keeping import MAX_SAMPLE_BYTES, kept_of, place_of, text_of
from gateway.copies.compare.pointers import MISSING, part_at
from gateway.copies.compare.trees import read
from policies.snapshot.release import Privacy
from tests.gateway.copies.compare.exchanges import binary, says, tensors, text

DIGESTS = Privacy()
BODIES = Privacy(keep="bodies")
ANSWER = {"label": "cat", "user": {"email": "a@example.com", "id": 3}, "items": [{"who": "x", "n": 1}]}


def kept(value: Any, path: str, privacy: Privacy) -> str:
    return kept_of(part_at(value, path), path, says(value), privacy)


def test_nothing_is_kept_where_nothing_may_be() -> None:
    assert kept(ANSWER, "/label", Privacy(keep="nothing")) == ""
    assert kept_of(MISSING, "/nowhere", says(ANSWER), BODIES) == ""


def test_a_digest_is_of_the_value_not_of_how_it_was_written() -> None:
    digest = kept(ANSWER, "/user", DIGESTS)
    assert len(digest) == 16
    assert digest == kept({"user": {"id": 3.0, "email": "a@example.com"}}, "/user", DIGESTS)
    assert digest != kept({"user": {"id": 4, "email": "a@example.com"}}, "/user", DIGESTS)
    told = ("scores", "FP32", [2], [0.5, 2.0])
    one, other = binary(told), tensors(told)
    assert text_of(read(one.fields, one.body)) == text_of(read(other.fields, other.body))


def test_a_sample_lacks_what_policy_drops() -> None:
    privacy = Privacy(keep="bodies", drop_fields=("/user/email", "/items/*/who"))
    assert kept(ANSWER, "", privacy) == '{"items":[{"n":1}],"label":"cat","user":{"id":3}}'
    assert kept(ANSWER, "/user/email", privacy) == ""
    assert kept(ANSWER, "/label", BODIES) == '"cat"'


def test_what_cannot_lose_fields_is_kept_as_a_digest() -> None:
    privacy = Privacy(keep="bodies", drop_fields=("/user",))
    said = kept_of("secret", "", text("secret"), privacy)
    assert len(said) == 16
    assert "secret" not in said


def test_keys_below_what_is_dropped_are_not_told() -> None:
    privacy = Privacy(drop_fields=("/users/*/mail",))
    assert place_of("", "/users/3/mail/a@example.com", privacy) == ""
    assert place_of("/users", "/3/name", privacy) == "/users/3/name"
    assert place_of("/users", "/3/name", Privacy(keep="nothing")) == "/users"


def test_a_sample_is_short() -> None:
    sample = kept("ä" * 5000, "", BODIES)
    assert len(sample.encode()) <= MAX_SAMPLE_BYTES
    assert sample.endswith("…")


def test_every_value_has_a_text() -> None:
    odd = [math.nan, math.inf, b"\xff", 2**70, -1.5, None, True]
    assert text_of(odd) == '["nan","inf","ÿ",1180591620717411303424,-1.5,null,true]'


secrets = st.text("abcdefgh", min_size=8, max_size=12)


@given(secrets, st.sampled_from(["digests", "nothing", "bodies"]), st.sampled_from(["", "/user", "/user/email"]))
def test_a_planted_secret_is_in_nothing_that_is_kept(secret: str, keep: str, path: str) -> None:
    privacy = Privacy(keep=keep, drop_fields=("/user/email",))
    value = {"label": "7", "user": {"email": f"{secret}@example.com"}}
    assert secret not in kept(value, path, privacy)


def test_digests_of_one_key_say_what_is_the_same_and_nothing_to_those_who_have_another() -> None:
    answer = says({"label": 3})
    mine = [kept_of(3, "/label", answer, Privacy(), b"mine") for _ in range(2)]
    assert mine[0] == mine[1] != kept_of(3, "/label", answer, Privacy(), b"other")
    assert kept_of(4, "/label", answer, Privacy(), b"mine") != mine[0]
