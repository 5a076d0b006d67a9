"""Asks the gateway's sidecar, twice a second, which traces it kept beside the share that every process knows of."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import httpx
import msgspec

from telemetry.sidecar.config import Address
from telemetry.sidecar.kept import LISTED, Keeps

ASK_EVERY_S = 0.5
ANSWER_WITHIN_S = 1.0
# A whole list is 50 bytes for each trace.
_ANSWER_BYTES = 100 * LISTED

_decode = msgspec.json.Decoder(Keeps).decode


class KeepPoll:
    """One reader of the gateway's list.

    Attributes:
        is_heard: the last question was answered.
    """

    def __init__(
        self, address: Address, take: Callable[[Keeps], None], answer_within_s: float = ANSWER_WITHIN_S
    ) -> None:
        self.is_heard = False
        self._answer_within_s = answer_within_s
        self._take = take
        self._after = 0
        self._address = address
        # Transports ask for one although these speak plain HTTP; making one that loads certificates takes 20 ms.
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def ask_for_ever(self) -> None:
        """Ask again and again; while nobody answers, each sidecar decides for itself."""
        while True:
            await self.ask()
            await asyncio.sleep(ASK_EVERY_S)

    async def ask(self, within_s: float | None = None) -> None:
        """Ask once, and hand on what is new; None waits for as long as this reader was made to wait."""
        try:
            async with asyncio.timeout(self._answer_within_s if within_s is None else within_s):
                keeps = _decode(await self._answer())
        except (httpx.HTTPError, msgspec.MsgspecError, UnicodeDecodeError, TimeoutError):
            self.is_heard = False
        else:
            self.is_heard = True
            self._after = keeps.next
            self._take(keeps)

    def _client(self) -> httpx.AsyncClient:
        """Return a client for one question.

        Every pod's sidecar asks: none of them keeps one of the few connections that the gateway's answers on. And a
        client whose request was cut off just before it connects counts that connection as in use for ever.
        """
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(verify=self._no_tls, limits=httpx.Limits(max_connections=1)),
            base_url=f"http://{self._address}",
            headers={"accept-encoding": "identity"},
            timeout=self._answer_within_s,
            trust_env=False,
        )

    async def _answer(self) -> bytes:
        answer = bytearray()
        async with (
            self._client() as client,
            client.stream("GET", "/keep", params={"after": self._after}) as response,
        ):
            response.raise_for_status()
            async for piece in response.aiter_raw():
                answer += piece
                if len(answer) > _ANSWER_BYTES:
                    raise httpx.DecodingError("the list is too long")
        return bytes(answer)
