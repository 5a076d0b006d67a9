"""Sidecars that run go on counting, whatever is told to them and wherever it cannot be told."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from deploy.local.sidecars import ATTRIBUTES_FILE, TARGETS_FILE, SidecarPlaces, Sidecars
from gateway.control.desired_pods import DesiredPod
from policies.snapshot.mesh import Tracing

PROGRAM = (sys.executable, "-m", "tests.deploy.local.programs.side")
ENDED_WITHIN_S = 20.0


def told(state: Path, story: Callable[[Sidecars], None]) -> list[str]:
    """Live through a story with sidecars, at whose end none is left; return what the mesh said of them and of files.

    A sidecar that was told to end is said to have stopped, one that is killed at the end of the story is not.
    """
    said: list[str] = []

    async def live() -> None:
        lifeline, held = os.pipe()
        sidecars = Sidecars(SidecarPlaces(state, lifeline, PROGRAM), said.append)
        try:
            story(sidecars)
        finally:
            sidecars.kill_all()
            async with asyncio.timeout(ENDED_WITHIN_S):
                while sidecars.pids - {0}:  # noqa: ASYNC110 - they are other processes
                    await asyncio.sleep(0)
            sidecars.close()
            os.close(lifeline)
            os.close(held)

    asyncio.run(live())
    return [line for line in said if "| runs as" not in line]


def pod(directory: Path) -> DesiredPod:
    return DesiredPod("m/1/0", "m", "1", "model.mar", "cpu", f"unix:{directory}/p.sock")


def test_other_attributes_are_told_by_a_file_and_end_no_sidecar(tmp_path: Path) -> None:
    def story(sidecars: Sidecars) -> None:
        sidecars.of_gateway()
        for attributes in ((), ("app.user", "app.cart.*")):
            sidecars.tend((), Tracing(attributes=attributes), has_hub=False, now_s=0.0)
            assert json.loads((tmp_path / ATTRIBUTES_FILE).read_bytes()) == list(attributes)

    assert told(tmp_path, story) == []


def test_a_pod_that_is_to_record_nothing_has_its_sidecar_all_the_same(tmp_path: Path) -> None:
    def story(sidecars: Sidecars) -> None:
        assert sidecars.of_pod(pod(tmp_path), kept_per_s=0.0) is None
        sidecars.tend([pod(tmp_path)], Tracing(), has_hub=False, now_s=0.0)
        assert len(sidecars.pids - {0}) == 1

    assert told(tmp_path, story) == []


def test_a_place_that_cannot_be_written_costs_what_is_told_there_and_is_said_once(tmp_path: Path) -> None:
    (tmp_path / TARGETS_FILE).mkdir()

    def story(sidecars: Sidecars) -> None:
        sidecars.of_gateway()
        for now_s in (0.0, 0.1):
            sidecars.tend((), Tracing(), has_hub=False, now_s=now_s)
        assert len(sidecars.pids - {0}) == 1
        (tmp_path / TARGETS_FILE).rmdir()
        sidecars.tend((), Tracing(), has_hub=False, now_s=0.2)
        assert json.loads((tmp_path / TARGETS_FILE).read_bytes())

    (line,) = told(tmp_path, story)
    assert f"{TARGETS_FILE} cannot be written" in line


def test_sockets_whose_place_is_gone_are_let_go_of(tmp_path: Path) -> None:
    def story(sidecars: Sidecars) -> None:
        sidecars.of_pod(pod(tmp_path), kept_per_s=1.0)
        (tmp_path / "p.rec").unlink()
        (tmp_path / "p.rec").mkdir()
        sidecars.tend((), Tracing(), has_hub=False, now_s=0.0)

    told(tmp_path, story)
