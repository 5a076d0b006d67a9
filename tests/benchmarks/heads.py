"""Requests whose heads differ each time, as clients' do: what caches whole heads gains nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.fakes.load import MakeRequest

_TRACE = 0x5F2C_91D8_0000_0000_0000_0000_0000_0000
_SPAN = 0x9E37_79B9_7F4A_7C15
_SPREAD = 0xD6E8_FEB8_6659_FD93  # odd, so that all of its multiples differ
_WORD = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Requests:
    """What a load asks.

    Attributes:
        path, key: of many, a pattern with one ``%d`` for the number of the one drawn.
        body_bytes: of each request; 12 or more.
    """

    path: str
    key: str
    path_count: int = 1
    key_count: int = 1
    body_bytes: int = 200

    def made(self) -> MakeRequest:
        """Return what makes them."""
        body = '{"data": "' + "1" * (self.body_bytes - 12) + '"}'
        return _varied(_numbered(self.path, self.path_count), _numbered(self.key, self.key_count), [body.encode()])


def requests_for(path: str, key: str, bodies: Sequence[bytes]) -> MakeRequest:
    """Make POST requests of ten header fields; body ``index % len(bodies)`` goes with request ``index``.

    The traceparent differs in every request, and the user id in value and length.
    """
    return _varied([path], [key], bodies)


def _varied(paths: Sequence[str], keys: Sequence[str], bodies: Sequence[bytes]) -> MakeRequest:
    starts = [
        f"POST {path} HTTP/1.1\r\nhost: penstock.test\r\nuser-agent: penstock-bench/1\r\naccept: */*\r\n"
        "accept-encoding: identity\r\ncontent-type: application/json\r\ntracestate: bench=1\r\nauthorization: Bearer "
        for path in paths
    ]
    users = [f"user-{'x' * (number % 29)}{number}" for number in range(997)]
    ends = [f"\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]

    def make_request(index: int) -> bytes:
        drawn = (index + 1) * _SPREAD & _WORD
        head = (
            f"{starts[drawn % len(starts)]}{keys[(drawn >> 16) % len(keys)]}\r\ntraceparent: "
            f"{traceparent(index)}\r\nx-user-id: {users[index % 997]}"
        )
        return head.encode() + ends[index % len(ends)]

    return make_request


def traceparent(index: int) -> str:
    """Return one that no other index has; its bits that decide about sampling are spread over their range."""
    trace, span = (index + 1) * _SPREAD & _WORD, (index + 1) * _SPAN & _WORD
    return f"00-{_TRACE + trace:032x}-{span:016x}-01"


def _numbered(pattern: str, count: int) -> list[str]:
    return [pattern % number for number in range(count)] if count > 1 else [pattern]


def json_bodies(values: Sequence[object]) -> list[bytes]:
    """Encode each value as one body."""
    return [json.dumps(value).encode() for value in values]
