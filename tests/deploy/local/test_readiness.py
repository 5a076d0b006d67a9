"""What is known of a pod's readiness, asked over a true socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from deploy.local.readiness import Readiness
from gateway.control.desired_pods import DesiredPod
from model_pod.wire.status import PodState, PodStatus
from tests.gateway.control.test_probe import speak


def said(path: Path, state: PodState, asked_pid: int) -> PodState | None:
    """Watch a pod whose process 7 says this of itself; return what is known of a process once it has answered."""

    async def ask() -> PodState | None:
        body = msgspec.json.encode(PodStatus("m", "1", state, pid=7))
        asked = asyncio.Event()

        def answer(_: str) -> tuple[int, bytes]:
            asked.set()
            return 200, body

        server = await asyncio.start_unix_server(speak(answer), path / "p.sock")
        readiness = Readiness()
        pod = DesiredPod("m/1/0", "m", "1", "m.mar", "cpu", f"unix:{path / 'p.sock'}")
        readiness.watch([pod])
        assert readiness.of("m/1/0", asked_pid) is None
        for _ in range(2):  # the second question comes when the first answer has been taken in
            await asked.wait()
            asked.clear()
        await asked.wait()
        known = readiness.of("m/1/0", asked_pid)
        readiness.watch([])
        server.close()
        return known

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("state", "asked_pid", "known"),
    [(PodState.READY, 7, PodState.READY), (PodState.FAILED, 7, PodState.FAILED), (PodState.READY, 8, None)],
    ids=["ready", "failed", "the answer of the process before it"],
)
def test_a_process_is_known_by_its_own_answer(
    tmp_path: Path, state: PodState, asked_pid: int, known: PodState | None
) -> None:
    assert said(tmp_path, state, asked_pid) is known


def test_a_pod_that_nobody_serves_is_starting(tmp_path: Path) -> None:
    async def ask() -> PodState | None:
        readiness = Readiness()
        readiness.watch([DesiredPod("m/1/0", "m", "1", "m.mar", "cpu", f"unix:{tmp_path / 'none.sock'}")])
        async with asyncio.timeout(10):
            while (known := readiness.of("m/1/0", 7)) is None:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
        readiness.watch([])
        return known

    assert asyncio.run(ask()) is PodState.STARTING
