"""Stops answering those who have left: a question that reads long in a thread would keep it from others."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class WhileAsked:
    """Cancels the application's answer to a ``GET`` when its asker closes the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; of one that asks for nothing the body is left to the application."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        answering = asyncio.ensure_future(self._app(scope, _Nothing().receive, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()  # which does nothing to an answer that is given
            leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering


class _Nothing:
    """The body of a request that has none, and nothing after it."""

    def __init__(self) -> None:
        self._is_read = False

    async def receive(self) -> Message:
        if self._is_read:
            await asyncio.Event().wait()
        self._is_read = True
        return {"type": "http.request", "body": b"", "more_body": False}


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
