"""Requests whose heads differ each time, as clients' do: what caches whole heads gains nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.fakes.load import MakeRequest

_TRACE = 0x5F2C_91D8_0000_0000_0000_0000_0000_0000
_SPAN = 0x9E37_79B9_7F4A_7C15
_WORD = 2**64 - 1


def requests_for(path: str, key: str, bodies: Sequence[bytes]) -> MakeRequest:
    """Make POST requests of ten header fields; body ``index % len(bodies)`` goes with request ``index``.

    The traceparent differs in every request, and the user id in value and length.
    """
    start = (
        f"POST {path} HTTP/1.1\r\nhost: penstock.test\r\nuser-agent: penstock-bench/1\r\naccept: */*\r\n"
        f"accept-encoding: identity\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        "tracestate: bench=1\r\ntraceparent: 00-"
    )
    users = [f"user-{'x' * (number % 29)}{number}" for number in range(997)]
    ends = [f"\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]

    def make_request(index: int) -> bytes:
        span = (index + 1) * _SPAN & _WORD
        head = f"{start}{_TRACE + index:032x}-{span:016x}-01\r\nx-user-id: {users[index % 997]}"
        return head.encode() + ends[index % len(ends)]

    return make_request


def json_bodies(values: Sequence[object]) -> list[bytes]:
    """Encode each value as one body."""
    return [json.dumps(value).encode() for value in values]
