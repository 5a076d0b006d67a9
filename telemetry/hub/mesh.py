"""Asks the gateway's supervisor how the mesh does, again and again, and remembers what it said last."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec
from msgspec import Struct

from telemetry.hub.events import say
from telemetry.hub.overview import Known
from telemetry.hub.releases import Told, has_rollout, with_whole
from telemetry.logs.log import LOG
from telemetry.pinned_tls import pinned_context

EVERY_S = 2.0
WITHIN_S = 2.0
ANSWER_BYTES = 8 * 2**20
COST_ROWS = 1000
MOST_TOLD = 64
CHANGES = 200
HISTORY_KEYS = ("slo", "model", "version", "span_s")


class MeshSilent(Exception):
    """The supervisor did not answer; the message is a sentence."""


class MeshRefuses(MeshSilent):
    """It answered that this cannot be asked so (400), or is not there (404); the message has its own sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class RunningMesh(Struct, frozen=True):
    """What the supervisor publishes of itself, as far as the hub needs it.

    Attributes:
        certificate: what the management API shows, as PEM; "" for plain HTTP.
        metrics: URL of its counters, "" when it shows none.
        pid, started_at: of the supervisor, which tell one life of its counters from another.
    """

    management: str
    token: str
    certificate: str = ""
    metrics: str = ""
    state_dir: str = ""
    pid: int = 0
    started_at: str = ""

    def __repr__(self) -> str:
        """Say nothing of the token."""
        return f"RunningMesh(pid={self.pid}, management={self.management!r})"


class _Refusal(Struct, frozen=True):
    message: str


class Mesh:
    """The supervisor as the hub knows it."""

    def __init__(self, published: Path) -> None:
        """``published`` is the file in which the supervisor says where it listens; it may come and change."""
        self._published = published
        self._certificate = ""
        self._client = client_for("")
        self._known = Known()
        self._told: dict[str, Told] = {}

    @property
    def known(self) -> Known:
        """What the supervisor said last, and what is wrong since."""
        return self._known

    async def watch_for_ever(self) -> None:
        """Ask every ``EVERY_S``."""
        while True:
            LOG.tick()
            await self.ask()
            await asyncio.sleep(EVERY_S)

    async def ask(self) -> None:
        """Ask once; silence leaves what was known, and says since when it is old."""
        before = self._known
        try:
            status, slos = await asyncio.gather(self._get("/admin/status", {}), self._get("/admin/slo", {}))
        except MeshSilent as silent:
            self._known = msgspec.structs.replace(before, error=str(silent))
            if self._known.error != before.error:
                say(self._known.error)
            return
        self._known = Known(status, slos, time.time())
        if before.error:
            say("the gateway answers")

    async def history(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the supervisor's history of one objective.

        Raises:
            MeshRefuses: the query cannot be read, or there is no such objective.
            MeshSilent: it did not answer, or not with one.
        """
        return await self._get("/admin/slo/history", {key: query[key] for key in HISTORY_KEYS if key in query})

    async def rollouts(self) -> Told:
        """Ask what every canary does; silence leaves what was told before, and says so."""
        return await self._tell("/admin/rollouts")

    async def rollout(self, model: str) -> Told:
        """Ask what every canary does, and all that there is of one model's, such as its evidence over time."""
        every, path = await self.rollouts(), f"/admin/rollouts/{quote(model, safe='')}"
        is_asked = not every.error and has_rollout(every, model)
        return with_whole(every, model, await self._tell(path) if is_asked else self._told.get(path, Told()))

    async def shadows(self) -> Told:
        """Ask what every shadow has come to; silence leaves what was told before, and says so."""
        return await self._tell("/admin/shadows")

    async def drift(self) -> Told:
        """Ask how every version drifts, in brief; silence leaves what was told before, and says so."""
        return await self._tell("/admin/drift", {"brief": "true"})

    async def drift_of(self, model: str) -> Told:
        """Ask all that there is to say of the drift of one model."""
        return await self._tell("/admin/drift", {"model": model})

    async def costs(self) -> Told:
        """Ask what requests have cost."""
        return await self._tell("/admin/costs", {"most": str(COST_ROWS)})

    async def alerts(self) -> Told:
        """Ask when alerts fired and who was told; silence leaves what was told before, and says so."""
        return await self._tell("/admin/slo/alerts")

    async def slots(self, slo: str, model: str) -> dict[str, Any]:
        """Return all that is counted of an objective.

        Raises:
            MeshSilent: it did not answer, or not with that.
        """
        return await self._get("/admin/slo/slots", {"slo": slo, "model": model})

    async def changes(self) -> Told:
        """Ask who changed what lately; silence leaves what was told before, and says so."""
        return await self._tell("/admin/audit", {"limit": str(CHANGES)})

    async def close(self) -> None:
        """End its connections."""
        await self._client.aclose()

    async def _tell(self, path: str, query: Mapping[str, str] | None = None) -> Told:
        asked = f"{path}?{urlencode(query)}" if query else path
        try:
            told = Told(await self._get(path, query or {}), time.time())
        except MeshSilent as silent:
            told = msgspec.structs.replace(self._told.get(asked, Told()), error=str(silent))
        # What may be named freely must not be remembered without end; what was told longest ago goes.
        self._told.pop(asked, None)
        self._told[asked] = told
        while len(self._told) > MOST_TOLD:
            del self._told[next(iter(self._told))]
        return told

    async def _get(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        mesh = self.running()
        if mesh.certificate != self._certificate:
            before, self._client, self._certificate = self._client, client_for(mesh.certificate), mesh.certificate
            await before.aclose()
        headers = {"authorization": f"Bearer {mesh.token}"}
        try:
            async with asyncio.timeout(WITHIN_S):
                request = self._client.build_request("GET", f"{mesh.management}{path}", params=query, headers=headers)
                answer = await self._client.send(request, stream=True)
                try:
                    body = await _body(answer)
                finally:
                    await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise MeshSilent(f"The gateway at {mesh.management} does not answer.") from error
        return _read(answer.status_code, body, path)

    def running(self) -> RunningMesh:
        """Return what the supervisor publishes of itself.

        Raises:
            MeshSilent: it publishes nothing, or no management address.
        """
        try:
            mesh = msgspec.json.decode(self._published.read_bytes(), type=RunningMesh)
        except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
            raise MeshSilent("No gateway runs, or it does not say where.") from error
        if not mesh.management:
            raise MeshSilent("The gateway has no management address: mesh.yaml names no listener that serves admin.")
        return mesh


def client_for(certificate: str) -> httpx.AsyncClient:
    """Return who asks a server that shows this certificate; "" for plain HTTP.

    Raises:
        MeshSilent: the certificate is none.
    """
    try:
        verify = pinned_context(certificate) if certificate else True
    except ssl.SSLError as error:
        raise MeshSilent("The gateway publishes a certificate that is none.") from error
    return httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, follow_redirects=False, verify=verify)


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for some in answer.aiter_bytes():
        body += some
        if len(body) > ANSWER_BYTES:
            raise MeshSilent(f"The gateway answers with more than {ANSWER_BYTES} bytes.")
    return bytes(body)


def _read(status: int, body: bytes, path: str) -> dict[str, Any]:
    if status in (400, 404) and (why := _message(body)):
        raise MeshRefuses(f"The gateway answers {status} to {path}: {why}", status)
    if status != 200:
        raise MeshSilent(f"The gateway answers {status} to {path}.")
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise MeshSilent(f"The gateway answers something else than JSON to {path}.") from error


def _message(body: bytes) -> str:
    """Return the sentence of a refusal; "" where it has none."""
    try:
        return msgspec.json.decode(body, type=_Refusal).message
    except (UnicodeDecodeError, msgspec.MsgspecError):
        return ""
