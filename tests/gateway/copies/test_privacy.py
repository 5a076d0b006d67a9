"""Privacy of copies: what policy drops is nowhere in what is left, whatever the request looks like."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.privacy import NotRedactable, Redaction, tokens_of
from tests.gateway.copies.requests import answered

SECRET = "PLANTED-7f3a"
BINARY = b"Inference-Header-Content-Length"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def body_of(value: Any) -> bytes:
    return json.dumps(value).encode()


def request(body: bytes, *drop_fields: str, fields: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
    return Redaction((), drop_fields).request(fields, body)[1]


def test_credentials_and_fields_of_ours_are_never_copied_whatever_policy_says() -> None:
    planted = SECRET.encode()
    names = (b"Authorization", b"COOKIE", b"proxy-authorization", b"X-Api-Key", b"Penstock-Version", b"idempotency-key")
    fields, _ = Redaction().request(((b"accept", b"*/*"), *((name, planted) for name in names)), b"")
    assert fields == ((b"accept", b"*/*"),)


def test_headers_that_policy_drops_are_found_in_any_spelling() -> None:
    kept, _ = Redaction(("x-user-id",)).request(((b"X-User-Id", b"7"), (b"x-other", b"8")), b"")
    assert kept == ((b"x-other", b"8"),)


def test_a_field_is_dropped_by_its_pointer() -> None:
    assert json.loads(request(body_of({"user": {"ssn": SECRET, "age": 7}}), "/user/ssn")) == {"user": {"age": 7}}


def test_a_star_stands_for_every_item_of_a_list() -> None:
    body = body_of({"rows": [{"a": 1, "ssn": SECRET}, {"ssn": SECRET}, 7]})
    assert json.loads(request(body, "/rows/*/ssn")) == {"rows": [{"a": 1}, {}, 7]}


def test_items_keep_their_numbers_while_several_are_dropped() -> None:
    assert json.loads(request(body_of([SECRET, SECRET, "kept"]), "/0", "/1")) == ["kept"]


def test_escaped_names_are_meant() -> None:
    assert tokens_of("/a~1b/c~0d/~01") == ("a/b", "c~d", "~1")
    assert json.loads(request(body_of({"a/b": {"c~d": SECRET}}), "/a~1b/c~0d")) == {"a/b": {}}


def test_what_stands_twice_is_copied_once() -> None:
    body = b'{"user": {"ssn": "%b"}, "user": {"age": 7}}' % SECRET.encode()
    assert SECRET.encode() not in request(body, "/user/ssn")


@pytest.mark.parametrize(
    "body",
    [
        b"\x89PNG\r\n",
        b'{"ssn": "PLANTED-7f3a"',
        b"\xff\xfe{\x00}\x00",
        b'"{\\"ssn\\": 1}"',
        b"ssn=PLANTED-7f3a",
        b"[" * 100_000,
        b'{"ssn": NaN}',
        b"7",
    ],
)
def test_a_body_that_has_to_lose_fields_and_cannot_be_read_is_not_copied(body: bytes) -> None:
    with pytest.raises(NotRedactable):
        request(body, "/ssn")


def test_a_body_that_has_nothing_to_lose_is_copied_as_it_is() -> None:
    assert request(b"\x89PNG\r\n") == b"\x89PNG\r\n"
    assert request(b"", "/ssn") == b""


def test_all_of_a_body_cannot_be_dropped() -> None:
    with pytest.raises(NotRedactable):
        request(b"{}", "")


def test_parameters_of_the_query_are_dropped_by_the_same_names() -> None:
    redaction = Redaction((), ("/ssn", "/user/age"))
    assert redaction.target(f"/predictions/digits?a=1&s%73n={SECRET}&age=2") == "/predictions/digits?a=1&age=2"
    assert redaction.target(f"/predictions/digits?ssn={SECRET}") == "/predictions/digits"
    assert redaction.target("/predictions/digits") == "/predictions/digits"


def binary_request(*tensors: tuple[dict[str, Any], bytes]) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """Return fields and body of tensors, each with the bytes that follow the head."""
    inputs = [tensor | {"parameters": {"binary_data_size": len(data)}} for tensor, data in tensors]
    head = body_of({"id": SECRET, "inputs": inputs})
    return ((BINARY, b"%d" % len(head)),), head + b"".join(data for _, data in tensors)


def test_binary_tensors_stay_where_their_head_loses_a_field() -> None:
    fields, body = binary_request(({"name": "x"}, b"\x01\x02"), ({"name": "y"}, b"\x03"))
    kept, left = Redaction((), ("/id",)).request(fields, body)
    head_bytes = int(kept[0][1])
    assert left[head_bytes:] == b"\x01\x02\x03"
    assert [tensor["name"] for tensor in json.loads(left[:head_bytes])["inputs"]] == ["x", "y"]
    assert SECRET.encode() not in left


@pytest.mark.parametrize("pointer", ["/inputs/0", "/inputs/0/data", "/inputs/0/parameters", "/inputs/*/data"])
def test_data_of_a_binary_tensor_that_is_dropped_go_with_it(pointer: str) -> None:
    fields, body = binary_request(({"name": "x"}, SECRET.encode()), ({"name": "y"}, b"\x03"))
    kept, left = Redaction((), ("/id", pointer)).request(fields, body)
    tensors = json.loads(left[: int(kept[0][1])])["inputs"]
    assert SECRET.encode() not in left
    told = sum(tensor.get("parameters", {}).get("binary_data_size", 0) for tensor in tensors)
    assert told == len(left) - int(kept[0][1])


@pytest.mark.parametrize("length", [b"", b"-1", b"999999", b"x", b"1 2"])
def test_a_head_of_binary_tensors_whose_end_is_not_told_is_not_copied(length: bytes) -> None:
    _, body = binary_request(({"name": "x"}, b"\x01"))
    with pytest.raises(NotRedactable):
        Redaction((), ("/id",)).request(((BINARY, length),), body)


def test_part_of_a_binary_tensor_cannot_be_dropped() -> None:
    fields, body = binary_request(({"name": "x"}, SECRET.encode()))
    with pytest.raises(NotRedactable):
        Redaction((), ("/inputs/0/data/3",)).request(fields, body)


@given(json_values, st.lists(st.sampled_from(["a", "b c", "~/", "0", "*"]), min_size=1, max_size=4), st.data())
def test_a_secret_behind_a_pointer_is_nowhere_in_what_is_left(
    value: Any, names: list[str], data: st.DataObject
) -> None:
    planted: Any = SECRET
    for name in reversed(names):
        beside = data.draw(json_values)
        if name == "*":
            planted = [planted] * data.draw(st.integers(1, 3))
        elif name == "0" and data.draw(st.booleans()):
            planted = [planted, beside]
        else:
            planted = {**(beside if isinstance(beside, dict) else {"beside": beside}), name: planted}
    pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in names)
    left = request(body_of(planted), pointer)
    assert SECRET.encode() not in left
    if isinstance(value, dict | list):
        assert json.loads(request(body_of(value), "/never/there")) == value


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_they_are_read_or_not_copied(body: bytes) -> None:
    with suppress(NotRedactable):
        json.loads(request(body, "/ssn") or b"{}")


def test_a_copy_is_what_was_asked_without_what_is_dropped() -> None:
    one = answered(target="/predictions/digits?ssn=1", fields=((b"cookie", b"c"), (b"accept", b"a")))
    copied = Redaction((), ("/ssn",)).copied(one, body_of({"ssn": SECRET, "x": 1}))
    assert (copied.target, copied.fields, copied.body) == ("/predictions/digits", ((b"accept", b"a"),), b'{"x":1}')
    assert (copied.model, copied.version, copied.tenant) == (one.model, one.version, one.tenant)
