"""Asks the sidecars, all at once and within bounds, what they know of the machine and of their own work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Struct

Json = dict[str, Any]

MOST = 512
AT_ONCE = 32
WITHIN_S = 2.0
ALL_WITHIN_S = 6.0
"""Nobody else is asked then: many that are silent must not keep whoever looks."""
FRESH_S = 2.0
"""An answer is given to whoever else looks so soon after."""
FILE_BYTES = 2**20
ANSWER_BYTES = 4 * 2**20
NAME_LABEL = "penstock_sidecar"
_UNNAMED = "No list of sidecars was given: start the hub with --sidecars FILE."


class Place(Struct, frozen=True):
    """Where one sidecar is reached."""

    name: str
    address: str


class Heard(Struct, frozen=True):
    """What one sidecar said; ``error`` says why it said nothing."""

    name: str
    answer: Json | None = None
    error: str = ""


class Asked(Struct, frozen=True):
    """What all of them said.

    Attributes:
        at_s: seconds since the epoch.
        left_out: sidecars beyond ``MOST``, which were not asked.
        error: why nobody could be asked; "" otherwise.
    """

    at_s: float
    heard: tuple[Heard, ...] = ()
    left_out: int = 0
    error: str = ""


class _Group(Struct, frozen=True):
    targets: list[str]
    labels: dict[str, str] = {}


class BadList(Exception):
    """The list of sidecars cannot be used; the message is a sentence."""


def read_places(data: bytes) -> list[Place]:
    """Return the sidecars that a file lists, in the format of Prometheus' ``file_sd_configs``.

    Raises:
        BadList: it is no such file.
    """
    try:
        groups = msgspec.json.decode(data, type=list[_Group])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadList(f"The list of sidecars cannot be read: {error}.") from error
    places = [
        Place(group.labels.get(NAME_LABEL, address), address)
        for group in groups
        for address in group.targets
        if _is_address(address)
    ]
    return sorted(places, key=lambda place: (place.name, place.address))


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return parts.netloc == text and bool(parts.hostname) and parts.port is not None and "@" not in text
    except ValueError:
        return False


class Sidecars:
    """The sidecars as the hub knows them.

    Args:
        listed: the file that lists them; it may come and change. None for none.
    """

    def __init__(self, listed: Path | None) -> None:
        self._listed = listed
        self._client = httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, follow_redirects=False)
        self._room = asyncio.Semaphore(AT_ONCE)
        self._known: dict[str, tuple[float, Asked]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def ask(self, path: str, query: Mapping[str, str] | None = None) -> Asked:
        """Ask every sidecar for one path; what was asked just now is not asked again."""
        async with self._asking.setdefault(path, asyncio.Lock()):
            known = self._known.get(path)
            if known is None or time.monotonic() - known[0] > FRESH_S:
                asked = await self._ask(path, query or {})
                known = self._known[path] = (time.monotonic(), asked)
            return known[1]

    async def ask_one(self, name: str, path: str) -> Heard | None:
        """Ask the sidecar of that name; None when none has it."""
        try:
            place = next((place for place in self._places() if place.name == name), None)
        except BadList as bad:
            return Heard(name, error=str(bad))
        return None if place is None else await self._hear(place, path, {}, time.monotonic() + ALL_WITHIN_S)

    async def close(self) -> None:
        """End its connections."""
        await self._client.aclose()

    async def _ask(self, path: str, query: Mapping[str, str]) -> Asked:
        try:
            places = self._places()
        except BadList as bad:
            return Asked(time.time(), error=str(bad))
        ends_s = time.monotonic() + ALL_WITHIN_S
        heard = await asyncio.gather(*(self._hear(place, path, query, ends_s) for place in places[:MOST]))
        return Asked(time.time(), tuple(heard), max(0, len(places) - MOST))

    def _places(self) -> list[Place]:
        if self._listed is None:
            raise BadList(_UNNAMED)
        try:
            with self._listed.open("rb") as file:
                data = file.read(FILE_BYTES + 1)
        except OSError as error:
            raise BadList(f"The list of sidecars cannot be read: {error.strerror or error}.") from error
        if len(data) > FILE_BYTES:
            raise BadList(f"The list of sidecars is longer than {FILE_BYTES} bytes.")
        return read_places(data)

    async def _hear(self, place: Place, path: str, query: Mapping[str, str], ends_s: float) -> Heard:
        async with self._room:
            if time.monotonic() >= ends_s:
                return Heard(place.name, error="There was no time to ask it: too many others are silent.")
            try:
                async with asyncio.timeout(WITHIN_S):
                    return Heard(place.name, await self._get(f"http://{place.address}{path}", query))
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
                return Heard(place.name, error="It does not answer.")
            except BadList as bad:
                return Heard(place.name, error=str(bad))

    async def _get(self, url: str, query: Mapping[str, str]) -> Json:
        body = bytearray()
        async with self._client.stream("GET", url, params=query) as answer:
            if answer.status_code != httpx.codes.OK:
                raise BadList(f"It answers {answer.status_code}: it may be of another release.")
            async for some in answer.aiter_bytes():
                body += some
                if len(body) > ANSWER_BYTES:
                    raise BadList(f"It answers with more than {ANSWER_BYTES} bytes.")
        try:
            return msgspec.json.decode(body, type=Json)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadList("It answers something else than JSON.") from error
