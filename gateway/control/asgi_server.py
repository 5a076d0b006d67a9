"""ASGI applications inside the supervisor's loop: Uvicorn with our TLS, and an end to heads that never arrive."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.control.listeners import Listener
from gateway.tls import identity_of

HEAD_WITHIN_S = 10.0
_CONNECTIONS = 128
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
    """One connection: whom its certificate names is part of each request's state, and a head has to arrive in time."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as Uvicorn does
        """Note who is at the other end."""
        super().connection_made(transport)
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None:
            identity = identity_of(secured.getpeercert(), cast(_Config, self.config).identity_from)
            self.app_state = {**self.app_state, "peer_identity": identity}
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request that begins has its time."""
        if not self._is_answering():
            self._await_head()
        super().data_received(data)
        if self._is_answering():
            self._head_is_here()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._head_is_here()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        # Uvicorn types it as always there.
        cycle = cast("Any | None", self.cycle)
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        if self._head_due is None:
            self._head_due = self.loop.call_later(HEAD_WITHIN_S, self.transport.close)

    def _head_is_here(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None


class AsgiServer(uvicorn.Server):
    """Uvicorn inside the supervisor's loop: signals stay the supervisor's."""

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
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_FINISH_WITHIN_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return AsgiServer(config)
