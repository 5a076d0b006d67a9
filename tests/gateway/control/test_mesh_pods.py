"""The pods as workers are shown them, and as people are told of them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.control import mesh_pods
from gateway.control.desired import PodPlace
from gateway.control.mesh_pods import MeshPods
from gateway.control.messages import Pods
from gateway.control.pod_table import Silence
from gateway.control.probe import PodProbes
from model_pod.wire.status import PodState, PodStatus

PLACE = PodPlace("digits/1/0", "digits", "1", "unix:/pod.sock", None)
READY = PodStatus("digits", "1", PodState.READY, was_ready=True, device="cpu", load_s=0.5)


OTHER = PodPlace("digits/2/0", "digits", "2", "unix:/other.sock", None)
NOBODY = Silence("nothing listens at its address", timed_out=False)


def looking(*places: PodPlace) -> tuple[MeshPods, list[str]]:
    """Return pods that were followed, and what happens to them: states shown to workers, and sentences told."""
    happened: list[str] = []
    pods = MeshPods(happened.append, lambda shown: happened.append(",".join(pod.state for pod in shown.pods)))
    pods.follow(places)
    return pods, happened


def test_workers_are_shown_a_ready_pod_before_anybody_is_told_of_it() -> None:
    async def probe_once() -> list[str]:
        pods, happened = looking(PLACE)
        pods.probed(PLACE, READY, 1.0)
        await asyncio.sleep(0)
        return happened

    assert asyncio.run(probe_once()) == ["ready", "pod digits/1/0 is ready on cpu, loaded in 0.5 s"]


def test_a_version_stays_ready_once_when_the_pods_behind_its_name_are_others() -> None:
    async def replace_pods() -> list[Pods]:
        shown: list[Pods] = []
        pods = MeshPods(lambda _: None, shown.append)
        pods.follow([PLACE])
        pods.probed(PLACE, READY, 1.0)
        await asyncio.sleep(0)
        pods.want([OTHER, replace(PLACE, address="pods.local:8500")])
        pods.follow([OTHER])
        pods.want([OTHER])
        pods.follow([OTHER])
        return shown

    assert [pods.ready_once for pods in asyncio.run(replace_pods())] == [(("digits", "1"),), (("digits", "1"),), ()]


def test_workers_are_shown_nothing_before_each_pod_was_asked_once() -> None:
    async def probe_both() -> list[str]:
        pods, happened = looking(PLACE, OTHER)
        pods.probed(PLACE, READY, 1.0)
        await asyncio.sleep(0)
        assert happened == []
        pods.probed(OTHER, NOBODY, 1.0)
        await asyncio.sleep(0)
        return happened

    assert asyncio.run(probe_both())[0] == "ready,starting"


async def first_shown(*places: PodPlace) -> str:
    pods, happened = looking(*places)
    pods.start_probing(PodProbes(pods.probed))
    async with asyncio.timeout(10):
        while not happened:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
    await pods.stop()
    return happened[0]


def test_a_pod_that_does_not_answer_ends_the_first_look_late_and_not_never(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mesh_pods, "FIRST_LOOK_S", 0.0)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent.sock"))
        silent.listen()
        place = PodPlace("digits/1/0", "digits", "1", f"unix:{tmp_path / 'silent.sock'}", None)
        assert asyncio.run(first_shown(place)) == "starting"


def test_a_mesh_without_pods_has_nothing_to_look_at_first() -> None:
    assert asyncio.run(first_shown()) == ""


def test_what_changes_nothing_for_workers_is_not_shown() -> None:
    async def probe_twice() -> list[str]:
        pods, happened = looking(PLACE)
        for queued_rows in (0, 1):
            pods.probed(PLACE, PodStatus("digits", "1", PodState.READY, queued_rows=queued_rows), 1.0)
            await asyncio.sleep(0)
        return happened

    assert asyncio.run(probe_twice()) == ["ready", "pod digits/1/0 is ready"]


def test_another_reason_for_a_failure_is_shown_and_told() -> None:
    async def probe_twice() -> list[str]:
        pods, happened = looking(PLACE)
        for message in ("no weights", "no vocabulary"):
            pods.probed(PLACE, PodStatus("digits", "1", PodState.FAILED, message=message), 1.0)
            await asyncio.sleep(0)
        return happened

    assert asyncio.run(probe_twice()) == [
        "failed",
        "pod digits/1/0 failed: no weights",
        "failed",
        "pod digits/1/0: no vocabulary",
    ]


def test_what_a_pod_says_of_itself_is_heard_each_time_and_nothing_else() -> None:
    async def probe() -> list[tuple[PodPlace, PodStatus]]:
        heard: list[tuple[PodPlace, PodStatus]] = []
        pods, _ = looking(PLACE)
        pods.on_account.append(lambda place, status: heard.append((place, status)))
        for place, finding in ((PLACE, READY), (PLACE, READY), (PLACE, NOBODY), (OTHER, READY)):
            pods.probed(place, finding, 1.0)
        await asyncio.sleep(0)
        return heard

    assert asyncio.run(probe()) == [(PLACE, READY), (PLACE, READY)]
