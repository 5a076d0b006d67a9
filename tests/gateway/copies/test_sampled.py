"""Of an answered request the named fields are kept, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.compare.answer import Answer
from gateway.copies.sampled import MOST_BYTES, Sampler, subject_digest
from gateway.copies.segments import Recorded
from policies.snapshot.samples import Sampling
from tests.gateway.copies.answered import JSON, answer, answered

KEY = b"k" * 32
SECRET = "planted-canary"


def sampled(rule: Sampling, body: bytes, said: bytes = b"{}", fields: tuple[tuple[bytes, bytes], ...] = ()) -> Recorded:
    told = msgspec.structs.replace(answered(), fields=fields) if fields else answered()
    return Sampler(rule, KEY).sampled(told, body, answer(said), "rate")


def inside(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(body)
    return found


def test_only_the_named_fields_of_both_bodies_are_kept() -> None:
    body = b'{"text":"hello","user":{"id":7,"mail":"a@b.example"},"items":[{"x":1,"y":2},{"x":3}]}'
    one = sampled(Sampling(("/text", "/items/*/x", "/label", "/none")), body, b'{"label":"cat","why":"secret"}')
    assert inside(one.body) == {"/text": "hello", "/items/0/x": 1, "/items/1/x": 3}
    assert inside(one.answer_body) == {"/label": "cat"}


def test_no_header_target_or_answer_field_is_kept() -> None:
    one = sampled(Sampling(("/text",)), b"{}")
    assert (one.answered.target, one.answered.fields, one.answered.answer_fields) == ("", (), b"")
    assert (one.answered.request_id, one.answered.why_sample) == ("r1", "rate")
    assert b"a@b.example" not in msgspec.msgpack.encode(one)


@pytest.mark.parametrize("body", [b"", b"cat", b'"cat"', b"7", b"\xff", b'{"text":', b"[" * 100_000])
def test_a_body_that_cannot_be_read_has_no_fields(body: bytes) -> None:
    one = sampled(Sampling(("/text",)), body, body)
    assert (one.body, one.answer_body) == (b"{}", b"{}")


def test_of_binary_tensors_the_head_is_read_alone() -> None:
    head = b'{"id":"a","inputs":[]}'
    fields = ((b"Inference-Header-Content-Length", b"%d" % len(head)),)
    assert inside(sampled(Sampling(("/id",)), head + b"\x00\xff", fields=fields).body) == {"/id": "a"}
    lied = ((b"inference-header-content-length", b"many"),)
    assert sampled(Sampling(("/id",)), head, fields=lied).body == b"{}"
    told = Answer(200, JSON + b"Inference-Header-Content-Length: %d\r\n" % len(head), head + b"\x00", 0.1)
    assert inside(Sampler(Sampling(("/id",)), KEY).sampled(answered(), b"", told, "rate").answer_body) == {"/id": "a"}


def test_what_rules_find_is_hidden_and_so_is_what_has_the_name_of_a_secret() -> None:
    body = b'{"text":"write to a@b.example","password":"x","card":4111111111111111}'
    one = sampled(Sampling(("/text", "/password", "/card")), body)
    assert inside(one.body) == {"/text": "write to [email]", "/password": "[hidden]", "/card": "[card]"}


def test_what_lies_below_the_name_of_a_secret_is_hidden_too() -> None:
    body = b'{"api_keys":["x1","x2"],"token":{"value":"x3"},"text":"hello"}'
    one = sampled(Sampling(("/api_keys/*", "/token/value", "/text")), body)
    assert inside(one.body) == {
        "/api_keys/0": "[hidden]",
        "/api_keys/1": "[hidden]",
        "/token/value": "[hidden]",
        "/text": "hello",
    }


def test_whom_it_is_about_is_kept_as_a_keyed_digest() -> None:
    one = sampled(Sampling(("/text",), subject="/user/id"), b'{"user":{"id":"ada"}}')
    assert one.subject == subject_digest(KEY, "ada")
    assert one.subject != subject_digest(b"other", "ada")
    assert sampled(Sampling(("/text",), subject="/user/id"), b'{"user":{"id":{}}}').subject == ""
    assert sampled(Sampling(("/text",), subject="/user"), b'{"user":7}').subject == subject_digest(KEY, "7")


def test_a_sample_is_bounded() -> None:
    body = msgspec.json.encode({"a": ["x" * 4000] * 6, "b": ["x" * 4000] * 6})
    sampler = Sampler(Sampling(("/a", "/b")), KEY)
    one = sampler.sampled(answered(), body, answer(b"{}"), "rate")
    assert set(inside(one.body)) == {"/a"}
    assert len(one.body) <= MOST_BYTES + 16
    assert sampler.hiding.hidden["too_long"] == 1


def values() -> st.SearchStrategy[Any]:
    leaf = st.none() | st.booleans() | st.integers(-9, 9) | st.just(SECRET)
    names = st.sampled_from(["a", "b", "text", "x/y", "0"])
    return st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))


@given(values(), st.sets(st.sampled_from(["/ok", "/ok/0", "/none/*"]), min_size=1))
def test_nothing_of_fields_without_a_name_in_policy_is_kept(value: Any, fields: set[str]) -> None:
    body = msgspec.json.encode({"not_ok": value, SECRET: 1, "ok": 1})
    one = sampled(Sampling(tuple(fields)), body, body)
    assert SECRET.encode() not in msgspec.msgpack.encode(one)
