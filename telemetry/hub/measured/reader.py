"""Reads the counters of the supervisor and of the sidecars again and again, and keeps by how much they grew."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from telemetry.conventions import STAGE_DURATION_SECONDS, TELEMETRY_DROPPED
from telemetry.hub.events import say
from telemetry.hub.measured.answers import PODS_S, PodStep, PodSum, pod_sum
from telemetry.hub.measured.cells import merged
from telemetry.hub.measured.fold import (
    OF_A_SIDECAR,
    OF_THE_SUPERVISOR,
    Happened,
    Wanted,
    attempts,
    of_a_pod,
    of_the_supervisor,
)
from telemetry.hub.measured.growth import Bucket, Growth, Key, Reading, growth
from telemetry.hub.measured.point_file import PointFile
from telemetry.hub.measured.steps import EVERY_S, PLACED_S
from telemetry.hub.mesh import Mesh, MeshSilent, RunningMesh, client_for

WITHIN_S = 5.0
MOST_BYTES = 16 * 2**20
MOST_SIDECARS = 1000
AT_ONCE = 8
TARGETS_FILE = "prometheus-targets.json"
TARGETS_BYTES = 2**20
_OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}
_GATEWAY = "gateway"
_INFERENCE = "inference"

_Made = TypeVar("_Made")


class Unreadable(Exception):
    """An exposition did not come; the message is a sentence."""


class _Target(Struct, frozen=True):
    targets: tuple[str, ...]
    labels: dict[str, str]


class _Pod:
    """What is known of one pod's sidecar."""

    __slots__ = ("read", "steps")

    def __init__(self) -> None:
        self.read: Reading | None = None
        self.steps: deque[PodStep] = deque(maxlen=int(PODS_S / EVERY_S))


class CounterReader:
    """Reads every ``EVERY_S``; what is asked of it comes from the store and from what it has of pods."""

    def __init__(self, mesh: Mesh, points: PointFile) -> None:
        self._mesh = mesh
        self._points = points
        self._thread = ThreadPoolExecutor(1, "points")
        self._http = client_for("")
        self._secure: tuple[str, httpx.AsyncClient] | None = None
        self._read: Reading | None = None
        self._pods: dict[str, _Pod] = {}
        self._is_first_look = True
        self._error = "The gateway's counters have not been read yet."

    @property
    def error(self) -> str:
        """Why the newest step has nothing; "" when the counters were read last time."""
        return self._error

    @property
    def dropped(self) -> dict[tuple[str, str], int]:
        """What the supervisor's counters said last of what was not counted, not told or not copied, and why."""
        counters = {} if self._read is None else self._read.counters
        return {(key[1], key[2]): round(count) for key, count in counters.items() if key[0] == TELEMETRY_DROPPED.name}

    def pods(self) -> list[PodSum]:
        """Return what each pod did in the last five minutes."""
        oldest_s = time.time() - PODS_S
        sums = (
            pod_sum(name, [step for step in pod.steps if step.at_s > oldest_s])
            for name, pod in sorted(self._pods.items())
        )
        return [one for one in sums if one is not None]

    async def watch_for_ever(self) -> None:
        """Read every ``EVERY_S``."""
        while True:
            began_s = time.monotonic()
            await self.look()
            await asyncio.sleep(max(1.0, EVERY_S - (time.monotonic() - began_s)))

    async def look(self) -> None:
        """Read once; silence is told, and leaves the step without data."""
        try:
            mesh = self._mesh.running()
            grown, between_s = await self._of_the_supervisor(mesh)
            error = ""
        except (MeshSilent, Unreadable) as silent:
            grown, between_s, error = None, 0.0, str(silent)
            mesh = None
        if error != self._error:
            say(error or "the gateway's counters are read")
        self._error = error
        several = [] if grown is None else [(grown, between_s)]
        several += [] if mesh is None else await self._of_pods(mesh)
        epoch = self._read.epoch if self._read is not None and not error else ""
        await self._in_thread(self._points.add, time.time(), several, between_s if grown is not None else 0.0, epoch)

    async def close(self) -> None:
        """Let go of connections and of the file."""
        await self._http.aclose()
        if self._secure is not None:
            await self._secure[1].aclose()
        await self._in_thread(self._points.close)
        self._thread.shutdown(wait=False)

    async def _of_the_supervisor(self, mesh: RunningMesh) -> tuple[Happened | None, float]:
        """Return what happened since the reading before, and how long that is; None where nobody can tell."""
        if not mesh.metrics:
            raise Unreadable("The gateway shows no counters: mesh.yaml names no listener that serves metrics.")
        epoch = f"{mesh.pid} {mesh.started_at}"
        client = await self._client(mesh)
        now = await _take(client, f"{mesh.metrics.rstrip('/')}/metrics", OF_THE_SUPERVISOR, epoch)
        before, self._read = self._read, now
        between_s = await self._new_s(mesh, now) if before is None else max(0.001, now.clock_s - before.clock_s)
        if between_s is None:
            return None, 0.0
        grown = await asyncio.to_thread(growth, before, now)
        return of_the_supervisor(grown), between_s

    async def _new_s(self, mesh: RunningMesh, first: Reading) -> float | None:
        """Return for how long the first reading's counts are nobody's yet; None where some are stored already."""
        stored, _ = await self._in_thread(self._points.last_told)
        since_s = None if stored == first.epoch else started_s(mesh.started_at)
        return None if since_s is None else max(0.001, first.at_s - since_s)

    async def _of_pods(self, mesh: RunningMesh) -> list[tuple[Happened, float]]:
        targets = await asyncio.to_thread(read_targets, Path(mesh.state_dir) / TARGETS_FILE)
        for gone in self._pods.keys() - targets.keys():
            del self._pods[gone]
        room = asyncio.Semaphore(AT_ONCE)
        # Whose sidecar was not there at the last look has counted nothing that anybody has.
        mesh_age_s = time.time() - (started_s(mesh.started_at) or 0.0)
        is_all_new = not self._is_first_look or mesh_age_s <= PLACED_S
        self._is_first_look = False

        async def one(name: str, address: str) -> tuple[Happened, float] | None:
            async with room:
                return await self._of_pod(name, address, is_all_new)

        found = await asyncio.gather(*(one(name, address) for name, address in targets.items()))
        return [each for each in found if each is not None]

    async def _of_pod(self, name: str, address: str, is_new: bool) -> tuple[Happened, float] | None:
        is_known, pod = name in self._pods, self._pods.setdefault(name, _Pod())
        try:
            now = await _take(self._http, f"http://{address}/metrics", OF_A_SIDECAR, address)
        except Unreadable:
            return None
        before, pod.read = pod.read, now
        if before is None and (is_known or not is_new):
            return None
        between_s = EVERY_S if before is None else max(0.001, now.clock_s - before.clock_s)
        grown = growth(before, now)
        happened = of_a_pod(grown, now, between_s)
        pod.steps.append(PodStep(now.at_s, between_s, happened.cells, attempts(grown), _inference(grown)))
        return happened, between_s

    async def _client(self, mesh: RunningMesh) -> httpx.AsyncClient:
        """Return who asks the supervisor: over TLS only who shows the certificate that it publishes is it."""
        if not mesh.metrics.startswith("https:"):
            return self._http
        if self._secure is None or self._secure[0] != mesh.certificate:
            before, self._secure = self._secure, (mesh.certificate, client_for(mesh.certificate))
            if before is not None:
                await before[1].aclose()
        return self._secure[1]

    async def _in_thread(self, do: Callable[..., _Made], *arguments: object) -> _Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, do, *arguments)


def _inference(grown: Growth) -> tuple[Bucket, ...]:
    """Return how long the pod's batches were at inference."""
    found = [held.buckets for key, held in grown.histograms.items() if _is_inference(key)]
    return merged(found)


def _is_inference(key: Key) -> bool:
    return key[0] == STAGE_DURATION_SECONDS.name and key[3] == _INFERENCE


async def _take(client: httpx.AsyncClient, url: str, wanted: Wanted, epoch: str) -> Reading:
    try:
        async with asyncio.timeout(WITHIN_S):
            text = await _fetch(client, url)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, UnicodeDecodeError) as error:
        raise Unreadable("The gateway's counters cannot be read.") from error
    at_s, clock_s = time.time(), time.monotonic()
    return replace(await asyncio.to_thread(wanted.read, text, at_s, epoch), clock_s=clock_s)


async def _fetch(client: httpx.AsyncClient, url: str) -> str:
    body = bytearray()
    async with client.stream("GET", url, headers=_OPENMETRICS) as answer:
        if answer.status_code != 200:
            raise Unreadable(f"The gateway answers {answer.status_code} to who reads its counters.")
        async for some in answer.aiter_bytes():
            body += some
            if len(body) > MOST_BYTES:
                raise Unreadable(f"The gateway's counters are more than {MOST_BYTES} bytes.")
    return body.decode()


def started_s(text: str) -> float | None:
    """Return a moment in ISO 8601 as seconds since the epoch; None for what is none."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def read_targets(path: Path) -> dict[str, str]:
    """Return where each pod's sidecar shows its counters; nothing where nobody says, as in containers."""
    try:
        with path.open("rb") as file:
            told = msgspec.json.decode(file.read(TARGETS_BYTES), type=tuple[_Target, ...])
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError):
        return {}
    named = {one.labels.get("penstock_sidecar", ""): one.targets[0] for one in told if one.targets}
    return dict(sorted((name, at) for name, at in named.items() if name not in ("", _GATEWAY))[:MOST_SIDECARS])
