"""Fetches an issuer's key set: bounded in time and size, from the address that policy names and no other."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl

import httpx

MAX_BYTES = 2**20
WITHIN_S = 5.0
_OK = 200


class FetchFailed(Exception):
    """There is no key set; the message says why, in words."""


async def fetch_jwks(url: str) -> bytes:
    """Return the bytes at the address.

    A redirect is a failure: whoever can answer for the address could otherwise send us to any other.

    Raises:
        FetchFailed: with the reason.
    """
    # Loading the certificates of the authorities takes 20 ms of CPU.
    context = await asyncio.to_thread(ssl.create_default_context)
    try:
        async with (
            asyncio.timeout(WITHIN_S),
            httpx.AsyncClient(verify=context, timeout=WITHIN_S, trust_env=not _is_here(url)) as client,
            client.stream("GET", url, headers={"accept": "application/json", "accept-encoding": "identity"}) as answer,
        ):
            return await _body(answer)
    except TimeoutError as error:
        raise FetchFailed(f"no whole answer within {WITHIN_S:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise FetchFailed(str(error) or type(error).__name__) from error


async def _body(answer: httpx.Response) -> bytes:
    if answer.status_code != _OK:
        hint = "; redirects are not followed" if answer.is_redirect else ""
        raise FetchFailed(f"it answers {answer.status_code}{hint}")
    body = bytearray()
    async for piece in answer.aiter_raw():
        body += piece
        if len(body) > MAX_BYTES:
            raise FetchFailed(f"the answer is larger than {MAX_BYTES} bytes")
    return bytes(body)


def _is_here(url: str) -> bool:
    """Whether the address is on this machine, which no proxy of the environment leads to."""
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
