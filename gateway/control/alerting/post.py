"""Posts what a receiver is told: bounded in time and in what is read of the answer, to that address and no other."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping
from functools import cache
from urllib.parse import urlsplit
from urllib.request import getproxies

import httpx

WITHIN_S = 10.0
# Of an answer that says no, this much is read to say why.
MAX_ANSWER_BYTES = 512
# What says that this body will never do. A receiver that is elsewhere or does not know us may be mended.
_NOT_THIS_BODY = (400, 413, 415, 422)


class PostFailed(Exception):
    """The receiver did not take it now, and may later; the message says why, and nothing of the address."""


class PostRefused(PostFailed):
    """The receiver says that it will not take it at any time."""


async def post(url: str, body: bytes, more: Mapping[str, str]) -> None:
    """Post a JSON body; a redirect is a failure, for whoever answers could send us anywhere.

    Args:
        more: header fields that prove who we are.

    Raises:
        PostRefused, PostFailed: with the reason.
    """
    headers = {"content-type": "application/json", "accept-encoding": "identity", "connection": "close", **more}
    context = await asyncio.to_thread(_trust)
    try:
        async with (
            asyncio.timeout(WITHIN_S),
            httpx.AsyncClient(verify=context, timeout=WITHIN_S, trust_env=not _is_here(url)) as client,
            client.stream("POST", url, content=body, headers=headers) as answer,
        ):
            if not answer.is_success:
                raise _refusal(answer.status_code, await _beginning(answer))
    except TimeoutError as error:
        raise PostFailed(f"no answer within {WITHIN_S:g} s") from error
    except httpx.HTTPError as error:
        raise PostFailed(type(error).__name__ if str(error) in ("", url) else str(error)) from error
    except (httpx.InvalidURL, OSError, ValueError) as error:
        raise PostFailed(f"its address cannot be used: {type(error).__name__}") from error


def name_in(url: str) -> str:
    """Return the name in an address that this machine has to look up; "" where there is none, or a proxy does it."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return ""  # no address at all, as the client will say
    return "" if host == "localhost" or _is_ip(host) or getproxies() else host


def is_in_the_clear(url: str) -> bool:
    """Whether others on the way would read what is sent there."""
    try:
        parts = httpx.URL(url)
    except httpx.InvalidURL:
        return False  # nothing is sent there at all
    return parts.scheme == "http" and not _is_here(url)


def _refusal(status: int, why: str) -> PostFailed:
    told = f"it answers {status}" + (f": {why}" if why else "")
    return PostRefused(told) if status in _NOT_THIS_BODY else PostFailed(told)


async def _beginning(answer: httpx.Response) -> str:
    read = bytearray()
    async for piece in answer.aiter_raw():
        read += piece
        if len(read) >= MAX_ANSWER_BYTES:
            break
    text = bytes(read[:MAX_ANSWER_BYTES]).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


@cache
def _trust() -> ssl.SSLContext:
    """Return the authorities to believe; to load them takes 20 ms of CPU."""
    return ssl.create_default_context()


def _is_here(url: str) -> bool:
    """Whether the address is on this machine, which no proxy of the environment leads to."""
    host = httpx.URL(url).host
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
