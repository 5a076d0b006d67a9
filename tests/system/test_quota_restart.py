"""A quota of N requests while workers, the supervisor and all of them are killed: N are admitted and not one more.

``PENSTOCK_QUOTA_KILLS`` is how many times somebody is killed on the way (3, one of each kind).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.control.runtime_file import FILE_NAME, RunningMesh
from gateway.decide.api_keys import sha256_hex
from tests.fakes.pod import FakePod, echo
from tests.system import processes
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("PENSTOCK_QUOTA_KILLS", "3"))
QUOTA = 150 * (KILLS + 1)
CLIENTS = 4
SOON_S = 180.0
KEY = "a-key-of-the-test"
EXHAUSTED = "quota_exhausted"
FILES = {
    "mesh.yaml": """
kind: mesh/v1
listen:
  - {address: "127.0.0.1:0", serves: inference}
  - {address: "127.0.0.1:0", serves: admin}
name: quotas
""",
    "limits.yaml": "kind: limits/v1\ntiers:\n  plain: {}\n",
    "tenants/ads.yaml": f"""
kind: tenant/v1
name: ads
owner: ads
tier: plain
keys:
  - {{id: one, sha256: "{sha256_hex(KEY)}", scopes: [infer]}}
quotas:
  - {{name: day, meter: requests, limit: {QUOTA}, per: rolling-24h}}
may_call: [echo]
""",
    "routes/echo.yaml": """
kind: route/v1
model: echo
owner: ads
versions:
  "1": {pods: {static: ["unix:POD"]}}
stable: "1"
""",
}


class Gateway:
    """A gateway of two workers that is started again on the same state whenever it was killed."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.session = 0
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start one; its predecessor's workers may still be leaving."""
        (self._home / "state" / FILE_NAME).unlink(missing_ok=True)
        places = ("--policies", str(self._home / "policies"), "--state", str(self._home / "state"), "--workers", "2")
        with (self._home / "said").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway.control", *places],
                env={**os.environ, "XDG_RUNTIME_DIR": str(self._home / "run")},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(process)
        self.session = process.pid

    @property
    def published(self) -> RunningMesh | None:
        """Its addresses, None while it starts."""
        path = self._home / "state" / FILE_NAME
        return msgspec.json.decode(path.read_bytes(), type=RunningMesh) if path.exists() else None

    def kill(self, whom: str) -> None:
        """Kill a worker, the supervisor, or all of it at once; start it again unless its supervisor lives."""
        titles = processes.of_session(self.session)
        workers = [pid for pid, title in titles.items() if "worker" in title]
        victims = {"worker": workers[:1], "supervisor": [self.session], "all": list(titles)}[whom]
        processes.kill_now(victims)
        if whom != "worker":
            self._started[-1].wait(SOON_S)
            self.start()

    def destroy(self) -> None:
        """Kill what is left, and print what it said, which pytest shows for a test that failed."""
        for process in self._started:
            processes.destroy_session(process.pid)
            process.wait(SOON_S)
        print((self._home / "said").read_text())


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[tuple[Gateway, FakePod]]:
    """A gateway whose only pod is in this process."""
    pod = home / "pod"
    for name, content in FILES.items():
        path = home / "policies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("POD", str(pod)))
    (home / "run").mkdir(mode=0o700)
    gateway = Gateway(home)
    async with FakePod(pod, echo) as fake:
        gateway.start()
        try:
            yield gateway, fake
        finally:
            await asyncio.to_thread(gateway.destroy)


async def send_until_exhausted(gateway: Gateway, answers: Counter[str], *, ends: asyncio.Event) -> None:
    """Send one request after the other, through whatever happens, until the quota is told to be used up at the end."""
    async with httpx.AsyncClient(trust_env=False, timeout=30.0, headers={"authorization": f"Bearer {KEY}"}) as client:
        while True:
            mesh = gateway.published
            try:
                answer = await client.post(f"{mesh.inference if mesh else 'http://127.0.0.1:9'}/predictions/echo")
            except (httpx.HTTPError, OSError):
                answers["no answer"] += 1
                await asyncio.sleep(0.01)
                continue
            told = answer.headers.get("penstock-reason", str(answer.status_code))
            answers[told] += 1
            if told == EXHAUSTED and ends.is_set():
                return
            await asyncio.sleep(0.002 if told == "200" else 0.02)


def admitted(pod: FakePod) -> int:
    return sum("/predictions/" in seen.line for seen in pod.seen)


async def quota_now(gateway: Gateway) -> dict[str, Any]:
    """Return what the management API tells of the quota."""
    mesh = gateway.published
    assert mesh is not None
    async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
        answer = await client.get(f"{mesh.management}/admin/quotas", headers={"authorization": f"Bearer {mesh.token}"})
        quota: dict[str, Any] = answer.json()["quotas"][0]
        return quota


async def kill_on_the_way(gateway: Gateway, pod: FakePod, drawn: random.Random) -> list[str]:
    """Kill somebody each time that a share of the quota was admitted, or nothing more comes."""
    killed = []
    for number in range(1, KILLS + 1):
        give_up_s = time.monotonic() + SOON_S
        while admitted(pod) < QUOTA * number // (KILLS + 1):
            assert time.monotonic() < give_up_s, f"{admitted(pod)} of {QUOTA} admitted, and no more come"
            await asyncio.sleep(0.01)
        whom = ("worker", "supervisor", "all")[number % 3] if number <= 3 else drawn.choice(("worker", "supervisor"))
        await asyncio.to_thread(gateway.kill, whom)
        killed.append(whom)
    return killed


async def play(home: Path) -> tuple[int, list[str], Counter[str], dict[str, Any]]:
    answers: Counter[str] = Counter()
    ends = asyncio.Event()
    async with running(home) as (gateway, pod):
        clients = [asyncio.create_task(send_until_exhausted(gateway, answers, ends=ends)) for _ in range(CLIENTS)]
        killed = await kill_on_the_way(gateway, pod, random.Random(7))
        ends.set()
        async with asyncio.timeout(SOON_S):
            await asyncio.gather(*clients)
        quota = await quota_now(gateway)
        async with asyncio.timeout(SOON_S):
            while quota["held"]:  # what the last of them held is given back a moment later
                await asyncio.sleep(0.1)
                quota = await quota_now(gateway)
        return admitted(pod), killed, answers, quota


def test_a_quota_is_spent_exactly_through_kill_9_of_everything(tmp_path: Path, figure: Figure) -> None:
    count, killed, answers, quota = asyncio.run(play(tmp_path))
    figure(f"admitted of a quota of {QUOTA} requests through {len(killed)} kills", str(count))
    print(killed, dict(answers))
    assert count <= QUOTA
    # What a worker had reserved when it was killed was perhaps never sent.
    assert count >= QUOTA - CLIENTS * len(killed)
    assert quota["used"] == QUOTA
    assert quota["held"] == 0
