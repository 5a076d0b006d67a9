"""Asks rooms of the management API over ASGI, behind the true gatekeeper."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx
from fastapi import APIRouter

from gateway.control.admin.sign_in import SignIn
from gateway.control.callers import Gate
from gateway.control.management import make_app
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh

TOKEN = "t" * 43
SERVER = "http://127.0.0.1:8081"
NO_ROLES = Snapshot(3, "d" * 64, Mesh("demo"))


def ask(
    rooms: Sequence[APIRouter],
    path: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    *,
    snapshot: Snapshot = NO_ROLES,
    json: object = None,
    content: bytes | None = None,
) -> httpx.Response:
    """Ask as a program with the admin token does, unless the headers say otherwise; "" leaves one out."""
    app = make_app(rooms, lambda: Gate(("127.0.0.1",)), SignIn(TOKEN, lambda: snapshot).actor)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    told = {"authorization": f"Bearer {TOKEN}"} | (headers or {})

    async def exchange() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url=SERVER) as client:
            shown = {name: value for name, value in told.items() if value}
            return await client.request(method, path, headers=shown, json=json, content=content)

    return asyncio.run(exchange())
