"""Targets of copies: another version is asked the same."""

from __future__ import annotations

import pytest

from gateway.copies.copied import Copied
from gateway.copies.privacy import Redaction
from gateway.copies.targets import NotForVersion, for_version, target_for
from gateway.dataplane.grpc.protobuf import counted, counted_fields, number
from tests.gateway.copies.requests import answered


def copied(target: str, body: bytes = b"", content_type: bytes = b"application/grpc") -> Copied:
    return Redaction().copied(answered(target=target, fields=((b"Content-Type", content_type),)), body)


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        ("/predictions/digits", "/predictions/digits"),
        ("/predictions/digits?a=1", "/predictions/digits?a=1"),
        ("/predictions/digits/1?a=/1/", "/predictions/digits/v%202?a=/1/"),
        ("/explanations/digits/1/rest/1", "/explanations/digits/v%202/rest/1"),
        ("/predictions/digits/", "/predictions/digits/"),
        ("/v2/models/digits/infer", "/v2/models/digits/infer"),
        ("/v2/models/digits/versions/1/infer", "/v2/models/digits/versions/v%202/infer"),
    ],
)
def test_a_version_in_the_path_is_replaced(asked: str, becomes: str) -> None:
    assert target_for(asked, "v 2") == becomes


def test_the_version_that_answered_is_asked_the_very_same() -> None:
    one = copied("/predictions/digits/1", b"\1\0\0\0\0")
    assert for_version(one, "1") is one


def test_a_message_names_no_version_when_another_is_asked() -> None:
    rest = counted(5, b"data") + number(9, 300)
    message = counted(1, "digits") + counted(2, "1") + rest
    asked = for_version(copied("/v2/models/digits/infer", b"\0" + len(message).to_bytes(4) + message), "2").body
    assert int.from_bytes(asked[1:5]) == len(asked) - 5
    assert asked[5:] == counted(1, "digits") + rest
    assert [field for field, _ in counted_fields(asked[5:])] == [1, 5]


@pytest.mark.parametrize("body", [b"", b"\1\0\0\0\1x", b"\0\0\0\0\1\x0a"])
def test_a_message_that_cannot_be_read_is_not_for_another_version(body: bytes) -> None:
    with pytest.raises(NotForVersion):
        for_version(copied("/v2/models/digits/infer", body), "2")


def test_other_bodies_are_not_looked_at() -> None:
    assert for_version(copied("/predictions/digits", b"\x12\0", b"image/png"), "2").body == b"\x12\0"
