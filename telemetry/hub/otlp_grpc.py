"""The hub's listener for spans by gRPC: who may send them, and how many connections there are."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from telemetry.http2.fields import Head
from telemetry.hub.gate import Caller, Gate
from telemetry.hub.gate import Refused as TurnedAway
from telemetry.hub.otlp_app import BODY_BYTES
from telemetry.otlp.grpc_calls import Admit, Bounds, GrpcReceiver, Take
from telemetry.otlp.receive import Code, Refused

CONNECTIONS = 32
"""What comes beyond is closed at once, and comes again; one that does nothing is closed after ``idle_s``."""
# Half of what bodies may take over HTTP, beside which they come.
BOUNDS = Bounds(BODY_BYTES, calls=4, message_within_s=10.0)


class GrpcListener:
    """One listening socket.

    Args:
        gate: who is let in.
        told: called with the status of each refusal at the gate.
    """

    def __init__(self, take: Take, gate: Gate, told: Callable[[int], None]) -> None:
        self._receiver = GrpcReceiver(take, BOUNDS, _admit(gate, told))
        self._conversations: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, listening: socket.socket) -> None:
        """Answer from now on."""
        self._server = await asyncio.start_server(self._begin, sock=listening)

    def close(self) -> None:
        """Answer nobody any more; who was not answered sends it again."""
        if self._server is not None:
            self._server.close()
        for conversation in self._conversations:
            conversation.cancel()

    def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._conversations) >= CONNECTIONS:
            writer.transport.abort()
            return
        conversation = asyncio.create_task(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError):
            try:
                async with asyncio.timeout(BOUNDS.message_within_s):
                    first = await reader.read(2**16)
                await self._receiver.converse(first, reader, writer)
            finally:
                writer.close()


def _admit(gate: Gate, told: Callable[[int], None]) -> Admit:
    def admit(head: Head) -> None:
        caller = _caller(head)
        try:
            gate.check_place(caller)
            # Over gRPC nobody is asked to choose a token, so nothing slows guesses down: it is too long for them.
            if not gate.is_open_to(caller) and not any(gate.knows(shown) for shown in caller.bearers[:1]):
                raise TurnedAway(401, "Send the token of spans as metadata: `authorization: Bearer TOKEN`.")
        except TurnedAway as refused:
            told(refused.status)
            code = Code.UNAUTHENTICATED if refused.status == 401 else Code.PERMISSION_DENIED
            raise Refused(refused.status, code, str(refused)) from None

    return admit


def _caller(head: Head) -> Caller:
    """Return who calls, as over HTTP/1.1, where the authority is the field ``host``."""
    authority = [("host", head.authority.decode("latin-1"))] if head.authority else []
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.fields]
    return Caller(head.method.decode("latin-1"), head.path.decode("latin-1"), (*authority, *fields))
