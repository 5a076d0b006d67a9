"""What the JSON API and the pages answer from: the store of traces, and the mesh as its supervisor tells of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from telemetry.hub.mesh import Mesh, MeshSilent
from telemetry.hub.overview import overview_json, slos_json
from telemetry.hub.query import parse
from telemetry.hub.reader import Patience, Reader
from telemetry.hub.views import list_json, trace_json

Json = dict[str, Any]
_Answer = TypeVar("_Answer")

READERS = 4


class HubSource:
    """Answers as JSON; reading the store happens in threads of its own."""

    def __init__(self, reader: Reader, mesh: Mesh) -> None:
        self._reader = reader
        self._mesh = mesh
        self._threads = ThreadPoolExecutor(READERS, "reader")

    async def overview(self) -> Json:
        """Return what ``GET /api/overview`` answers."""
        return overview_json(self._mesh.known, time.time())

    async def slos(self) -> Json:
        """Return what ``GET /api/slos`` answers."""
        return slos_json(self._mesh.known, time.time())

    async def slo_history(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/slos/history`` answers; ``error`` says why there are no points."""
        try:
            return await self._mesh.history(query) | {"error": ""}
        except MeshSilent as silent:
            named = {"slo": query.get("slo", ""), "model": query.get("model", "")}
            return {**named, "step_s": 0, "points": [], "error": str(silent)}

    async def traces(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/traces`` answers.

        Raises:
            BadQuery: the query cannot be understood.
            TooSlow: it would take too long.
        """
        wanted = parse(query)
        return await self._in_thread(lambda patience: list_json(self._reader.traces(wanted, patience), wanted))

    async def trace(self, wanted: str) -> Json | None:
        """Return what ``GET /api/traces/{trace id or request id}`` answers; None if it is not here.

        Raises:
            TooSlow: it would take too long.
        """
        return await self._in_thread(lambda patience: self._trace(wanted, patience))

    def close(self) -> None:
        """Begin no further reading."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _trace(self, wanted: str, patience: Patience) -> Json | None:
        stored = self._reader.trace(wanted, patience)
        return None if stored is None else trace_json(stored)

    async def _in_thread(self, answer: Callable[[Patience], _Answer]) -> _Answer:
        """Answer in a thread; the asker's patience begins here, and ends when it leaves."""
        patience = Patience()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, answer, patience)
        finally:
            patience.end()
