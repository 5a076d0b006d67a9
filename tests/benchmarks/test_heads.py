"""The requests of a benchmark."""

from __future__ import annotations

import httptools
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.heads import Requests, requests_for

MAKE_REQUEST = requests_for("/predictions/stub", "key", [b"[1]", b"[12]"])


class Reader:
    def __init__(self, request: bytes) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.body = self.path = b""
        self.is_complete = False
        httptools.HttpRequestParser(self).feed_data(request)

    def on_url(self, url: bytes) -> None:
        self.path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_complete = True


@given(st.integers(0, 10**9))
def test_every_request_is_whole_and_has_ten_fields(index: int) -> None:
    read = Reader(MAKE_REQUEST(index))
    assert read.is_complete
    assert len(read.fields) == 10
    assert read.body == (b"[1]", b"[12]")[index % 2]
    assert len(read.fields[b"traceparent"]) == 55


def test_no_two_heads_are_alike() -> None:
    read = [Reader(MAKE_REQUEST(index)) for index in range(5_000)]
    assert len({reader.fields[b"traceparent"] for reader in read}) == 5_000
    assert len({len(reader.fields[b"x-user-id"]) for reader in read}) > 20


def test_many_paths_and_keys_are_all_drawn() -> None:
    make = Requests("/predictions/model-%04d", "msk_%043d", path_count=10, key_count=20, body_bytes=300).made()
    read = [Reader(make(index)) for index in range(2_000)]
    assert len({reader.fields[b"authorization"] for reader in read}) == 20
    assert len({reader.path for reader in read}) == 10
    assert {len(reader.body) for reader in read} == {300}
