"""ASGI applications inside the supervisor's loop: Uvicorn with our TLS, and bounds on callers that say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.control.listeners import Listener
from gateway.tls import HANDSHAKE_WITHIN_S, identity_of

HEAD_WITHIN_S = 10.0
MOST_CONNECTIONS = 120
"""Where there is one more, the one is closed that has been here for longest without a request that is answered."""

# Above our own bound by what is on its way out, so that nobody is refused because others say nothing.
_UVICORN_CONNECTIONS = MOST_CONNECTIONS + 8
_ACCEPT_PAUSE_S = 1.0
_IDLE_S = 5
_FINISH_WITHIN_S = 2
_HEAD_BYTES = 16 * 1024


class _Config(uvicorn.Config):
    """Uvicorn's settings, with the TLS of one listener instead of that of files."""

    def __init__(self, app: ASGIApp, listener: Listener, **settings: Any) -> None:
        super().__init__(app, **settings)
        asked = listener.asked.client_certs
        self.identity_from = asked.identity_from if asked is not None else ""
        self._context: ssl.SSLContext | None = listener.live.context if listener.live is not None else None

    def load(self) -> None:
        """Load everything but the TLS, which is ours."""
        super().load()
        self.ssl = self._context


class Connection(H11Protocol):
    """One connection: whom its certificate names is part of each request's state, and a head has to arrive in time.

    Attributes:
        since_s: when it was accepted, by the loop's clock.
        is_begun: its transport is being made, and closes its socket.
        is_dropped: others need its place.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.since_s = self.loop.time()
        self.is_begun = False
        self.is_dropped = False
        self._head_due: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Whether there is a request that has no whole answer yet."""
        # Uvicorn types it as always there.
        cycle = cast("Any | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def drop(self) -> None:
        """Close it at once, or as soon as there is anything to close."""
        self.is_dropped = True
        transport = cast("asyncio.Transport | None", self.transport)
        if transport is not None:
            transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn does
        """Note who is at the other end."""
        super().connection_made(transport)
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None:
            identity = identity_of(secured.getpeercert(), cast(_Config, self.config).identity_from)
            self.app_state = {**self.app_state, "peer_identity": identity}
        self._await_head()
        if self.is_dropped:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request that begins has its time."""
        if not self.is_answering:
            self._await_head()
        super().data_received(data)
        if self.is_answering:
            self._head_is_here()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._head_is_here()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._head_due is None:
            self._head_due = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _head_is_here(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None


class AsgiServer(uvicorn.Server):
    """Uvicorn inside the supervisor's loop: signals stay the supervisor's, and connections are bounded from the start.

    Uvicorn counts a connection once its handshake is done, and gives that a minute; so we accept them ourselves.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._accepting: list[asyncio.Task[None]] = []
        self._beginning: dict[Connection, asyncio.Task[None]] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections from now on."""
        await super().startup(sockets=[])
        self._accepting = [asyncio.create_task(self._accept(listening)) for listening in sockets or ()]

    async def on_tick(self, counter: int) -> bool:
        """Go on, unless what accepts connections had a defect: whoever runs the server starts it again."""
        for task in self._accepting:
            if task.done():
                task.result()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, and finish what is being answered."""
        tasks = [*self._accepting, *self._beginning.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().shutdown(sockets)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, _ = await loop.sock_accept(listening)
            except ConnectionError:
                continue  # it has left already
            except OSError as error:  # no descriptors or no memory
                loop.call_exception_handler({"message": "connections cannot be accepted", "exception": error})
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            self._begin(accepted)
            await asyncio.sleep(0)  # a crowd at the door leaves time for everything else

    def _begin(self, accepted: socket.socket) -> None:
        if not self._has_room():
            accepted.close()
            return
        connection = Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        task = self._beginning[connection] = asyncio.create_task(self._connect(connection, accepted))
        task.add_done_callback(partial(self._has_begun, connection, accepted))

    def _has_room(self) -> bool:
        """Whether one more may come, for which another may have to go."""
        counted = cast("set[Connection]", self.server_state.connections)
        held = [one for one in {*self._beginning, *counted} if not one.is_dropped]
        if len(held) < MOST_CONNECTIONS:
            return True
        idle = min((one for one in held if not one.is_answering), key=lambda one: one.since_s, default=None)
        if idle is None:
            return False
        idle.drop()
        if idle in self._beginning:
            self._beginning[idle].cancel()
        return True

    async def _connect(self, connection: Connection, accepted: socket.socket) -> None:
        connection.is_begun = True
        context = self.config.ssl
        within_s = HANDSHAKE_WITHIN_S if context is not None else None
        # What a caller does wrong in its handshake is its own business.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=context,
                ssl_handshake_timeout=within_s,
                ssl_shutdown_timeout=within_s,
            )

    def _has_begun(self, connection: Connection, accepted: socket.socket, _: asyncio.Task[None]) -> None:
        del self._beginning[connection]
        if not connection.is_begun:
            accepted.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def make_server(app: ASGIApp, listener: Listener) -> AsgiServer:
    """Return a server for a socket that listens already; ``serve`` runs it until ``should_exit``."""
    config = _Config(
        app,
        listener,
        http=Connection,  # on h11: stricter than the faster one, and nobody is in a hurry here
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_UVICORN_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_FINISH_WITHIN_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return AsgiServer(config)
