"""An issuer's HTTP server that can also be slow, large, elsewhere, broken or gone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

_TURNS = {"redirect", "error", "large", "hang", "drip", "nonsense"}


@dataclass
class JwksServer:
    """Answers every GET with ``jwks``, or as ``turn`` says.

    Attributes:
        turn: "" is honest; "redirect", "error", "large", "hang", "drip" (a byte at a time, never whole) or "nonsense".
        asked: how often it was asked.
    """

    jwks: bytes
    turn: str = ""
    asked: int = 0
    url: str = ""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _server: asyncio.Server | None = None

    async def __aenter__(self) -> JwksServer:
        assert not self.turn or self.turn in _TURNS
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/jwks.json"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        for piece in self._pieces():
            writer.write(piece)
        if self.turn in ("hang", "drip"):
            await reader.read()  # until the caller gives up
        writer.close()

    def _pieces(self) -> list[bytes]:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        match self.turn:
            case "redirect":
                return [b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"]
            case "error":
                return [b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"]
            case "large":
                return [head % (2**20 + 1), b" " * (2**20 + 1)]
            case "hang":
                return []
            case "drip":
                return [head % len(self.jwks), self.jwks[:1]]
            case "nonsense":
                return [head % 6, b"<html>"]
            case _:
                return [head % len(self.jwks), self.jwks]
