"""Fetching key sets from a true server on loopback."""

from __future__ import annotations

import asyncio

import pytest

from gateway.control import jwks_fetch
from gateway.control.jwks_fetch import FetchFailed, fetch_jwks
from tests.fakes.jwks import JwksServer


def fetched(turn: str = "", jwks: bytes = b'{"keys":[]}') -> bytes:
    async def play() -> bytes:
        async with JwksServer(jwks, turn) as server:
            return await fetch_jwks(server.url)

    return asyncio.run(play())


def test_a_key_set_is_returned_as_it_is() -> None:
    assert fetched() == b'{"keys":[]}'


@pytest.mark.parametrize(
    ("turn", "why"),
    [
        ("redirect", "it answers 302; redirects are not followed"),
        ("error", "it answers 503"),
        ("large", "larger than 1048576 bytes"),
        ("hang", "no whole answer within 0.2 s"),
        ("drip", "no whole answer within 0.2 s"),
    ],
)
def test_a_server_that_does_not_give_it_is_told_of(turn: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if turn in ("hang", "drip"):
        monkeypatch.setattr(jwks_fetch, "WITHIN_S", 0.2)
    with pytest.raises(FetchFailed, match=why):
        fetched(turn)


def test_a_largest_key_set_is_taken() -> None:
    largest = b'{"keys":[]}'.ljust(jwks_fetch.MAX_BYTES)
    assert fetched(jwks=largest) == largest


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "gopher://x/", "http://\x00/"]
)
def test_an_address_that_leads_nowhere_is_told_of(url: str) -> None:
    with pytest.raises(FetchFailed):
        asyncio.run(fetch_jwks(url))


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert fetched() == b'{"keys":[]}'
