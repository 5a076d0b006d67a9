"""What the JSON API and the pages answer from: the store of traces, and the mesh as its supervisor tells of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from telemetry.hub.changes import changes_of
from telemetry.hub.fleet import HubFacts, drift_json, machine_json, sidecar_json, telemetry_json
from telemetry.hub.measured.desk import CountedSteps
from telemetry.hub.mesh import Mesh, MeshRefuses, MeshSilent
from telemetry.hub.overview import overview_json, slos_json
from telemetry.hub.query import parse
from telemetry.hub.reader import Patience, Reader
from telemetry.hub.releases import releases_json
from telemetry.hub.sidecars import Sidecars
from telemetry.hub.simulations import Asked, find, simulation_json
from telemetry.hub.simulations import parse as parse_simulation
from telemetry.hub.views import list_json, otlp_json, trace_json
from telemetry.slo.told import ToldObjective, ToldSlots

Json = dict[str, Any]
_Answer = TypeVar("_Answer")

READERS = 4
DRAWN_POINTS = 21
"""Of what sidecars tell of the machine: five minutes of every sidecar, in steps of 15 s."""
# At once, those that wait for their turn included.
SIMULATIONS = 4


class HubSource:
    """Answers as JSON; reading the store happens in threads of its own."""

    def __init__(
        self, reader: Reader, mesh: Mesh, counted: CountedSteps, sidecars: Sidecars, facts: Callable[[], HubFacts]
    ) -> None:
        """``facts`` returns what the hub knows of itself; it may read the disk."""
        self._reader = reader
        self._mesh = mesh
        self._counted = counted
        self._sidecars = sidecars
        self._facts = facts
        self._threads = ThreadPoolExecutor(READERS, "reader")
        # One at a time: each takes up to seconds of a processor.
        self._simulating = ThreadPoolExecutor(1, "simulation")
        self._simulations = 0

    async def overview(self) -> Json:
        """Return what ``GET /api/overview`` answers."""
        return overview_json(self._mesh.known, time.time())

    async def slos(self) -> Json:
        """Return what ``GET /api/slos`` answers."""
        return slos_json(self._mesh.known, time.time())

    async def slo_history(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/slos/history`` answers; ``error`` says why there are no points.

        Raises:
            MeshRefuses: the query cannot be read, or there is no such objective.
        """
        try:
            return await self._mesh.history(query) | {"error": ""}
        except MeshRefuses:
            raise
        except MeshSilent as silent:
            named = {"slo": query.get("slo", ""), "model": query.get("model", "")}
            return {**named, "step_s": 0, "points": [], "error": str(silent)}

    async def alerts(self) -> Json:
        """Return what ``GET /api/alerts`` answers, unfiltered."""
        return releases_json(await self._mesh.alerts(), time.time())

    async def changes_of(self, model: str) -> Json:
        """Return what was changed of a model of late: by policy, and by its canary's steps."""
        rollout, changes = await asyncio.gather(self._mesh.rollout(model), self._mesh.changes())
        records = (changes.answer or {}).get("records")
        return {"changes": changes_of(model, rollout.answer, records if isinstance(records, list) else [])}

    async def simulation(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/slos/simulate`` answers.

        Raises:
            BadQuery: the query cannot be understood.
            NoObjective: there is no such objective.
        """
        asked = parse_simulation(query)
        known = self._mesh.known.slos or {}
        told = find(known.get("slos", []), asked.slo, asked.model)
        asked = msgspec.structs.replace(asked, model=told.model)
        try:
            slots = await self._mesh.slots(told.name, told.model) if asked.fault is None else None
            read = None if slots is None else msgspec.convert(slots, ToldSlots)
        except (MeshSilent, msgspec.ValidationError) as silent:
            return {"slo": told.name, "model": told.model, "given": asked.given, "courses": [], "error": str(silent)}
        return await self._simulated(told, asked, read)

    async def _simulated(self, told: ToldObjective, asked: Asked, slots: ToldSlots | None) -> Json:
        if self._simulations >= SIMULATIONS:
            error = "Too many simulations are asked for at once: ask again in some seconds."
            return {"slo": told.name, "model": told.model, "given": asked.given, "courses": [], "error": error}
        self._simulations += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._simulating, simulation_json, told, asked, slots)
        finally:
            self._simulations -= 1

    async def rollouts(self) -> Json:
        """Return what ``GET /api/rollouts`` answers; asked when somebody looks, since few do."""
        return releases_json(await self._mesh.rollouts(), time.time())

    async def rollout(self, model: str) -> Json:
        """Return what ``GET /api/rollouts/{model}`` answers: the same, with all that there is of this model's."""
        return releases_json(await self._mesh.rollout(model), time.time())

    async def shadows(self) -> Json:
        """Return what ``GET /api/shadows`` answers."""
        return releases_json(await self._mesh.shadows(), time.time())

    async def drift(self) -> Json:
        """Return what ``GET /api/drift`` answers."""
        return drift_json(await self._mesh.drift(), time.time())

    async def drift_of(self, model: str) -> Json:
        """Return what ``GET /api/drift/{model}`` answers: all that there is of one model."""
        return drift_json(await self._mesh.drift_of(model), time.time())

    async def machine(self) -> Json:
        """Return what ``GET /api/machine`` answers: the last five minutes of every sidecar."""
        asking = self._sidecars.ask("/machine", {"last": str(DRAWN_POINTS)})
        asked, costs = await asyncio.gather(asking, self._mesh.costs())
        return machine_json(asked, costs, self._mesh.known, time.time())

    async def machine_of(self, sidecar: str) -> Json | None:
        """Return what ``GET /api/machine/{sidecar}`` answers: its last hour; None if there is no such sidecar."""
        heard = await self._sidecars.ask_one(sidecar, "/machine")
        return None if heard is None else sidecar_json(heard, "machine")

    async def telemetry(self) -> Json:
        """Return what ``GET /api/telemetry`` answers."""
        asked = await self._sidecars.ask("/telemetry")
        return telemetry_json(asked, await self._in_thread(lambda _: self._facts()))

    async def changes(self) -> Json:
        """Return what ``GET /api/changes`` answers: the latest records of the audit log."""
        return releases_json(await self._mesh.changes(), time.time())

    async def measured(self, span: str) -> Json:
        """Return what ``GET /api/red`` answers.

        Raises:
            BadQuery: there is no such span.
        """
        known, pods = self._counted.known(span), self._counted.pods()
        return await self._in_thread(lambda _: self._counted.all(span, pods)) if known is None else known

    async def measured_model(self, model: str, version: str, span: str) -> Json:
        """Return what ``GET /api/red/{model}`` answers; a version of "" is all of them.

        Raises:
            BadQuery: there is no such span.
        """
        return await self._in_thread(lambda _: self._counted.one(model, version, span))

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

    async def trace_otlp(self, wanted: str) -> Json | None:
        """Return what ``GET /api/traces/{trace id or request id}?form=otlp`` answers; None if it is not here.

        Raises:
            TooSlow: it would take too long.
        """
        return await self._in_thread(lambda patience: self._trace_otlp(wanted, patience))

    def close(self) -> None:
        """Begin no further reading."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._simulating.shutdown(wait=False, cancel_futures=True)

    def _trace(self, wanted: str, patience: Patience) -> Json | None:
        stored = self._reader.trace(wanted, patience)
        return None if stored is None else trace_json(stored)

    def _trace_otlp(self, wanted: str, patience: Patience) -> Json | None:
        stored = self._reader.trace(wanted, patience)
        return None if stored is None else otlp_json(stored)

    async def _in_thread(self, answer: Callable[[Patience], _Answer]) -> _Answer:
        """Answer in a thread; the asker's patience begins here, and ends when it leaves."""
        patience = Patience()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, answer, patience)
        finally:
            patience.end()
