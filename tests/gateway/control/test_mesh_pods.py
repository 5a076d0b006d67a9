"""The pods as workers are shown them, and as people are told of them."""

from __future__ import annotations

import asyncio

from gateway.control.desired import PodPlace
from gateway.control.mesh_pods import MeshPods
from model_pod.wire.status import PodState, PodStatus

PLACE = PodPlace("digits/1/0", "digits", "1", "unix:/pod.sock", None)
READY = PodStatus("digits", "1", PodState.READY, was_ready=True, device="cpu", load_s=0.5)


def test_workers_are_shown_a_ready_pod_before_anybody_is_told_of_it() -> None:
    happened: list[str] = []

    async def probe_once() -> None:
        pods = MeshPods(happened.append, lambda shown: happened.append(str(shown.pods[0].state)))
        pods.follow((PLACE,))
        pods.probed(PLACE, READY, 1.0)
        await asyncio.sleep(0)

    asyncio.run(probe_once())
    assert happened == ["starting", "ready", "pod digits/1/0 is ready on cpu, loaded in 0.5 s"]


def test_what_changes_nothing_for_workers_is_told_and_not_shown() -> None:
    happened: list[str] = []

    async def probe_twice() -> None:
        pods = MeshPods(happened.append, lambda shown: happened.append(str(shown.pods[0].state)))
        pods.follow((PLACE,))
        for message in ("no weights", "no vocabulary"):
            pods.probed(PLACE, PodStatus("digits", "1", PodState.FAILED, message=message), 1.0)
            await asyncio.sleep(0)

    asyncio.run(probe_twice())
    assert happened == [
        "starting",
        "failed",
        "pod digits/1/0 failed: no weights",
        "pod digits/1/0: no vocabulary",
    ]
