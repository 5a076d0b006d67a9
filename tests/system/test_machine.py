"""Is it the machine? What the sidecars of a whole mesh tell of its processes, the machine and the pods' devices."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.system.mesh import SOON_S, MeshUnderTest, eventually, started_mesh
from tests.system.seen import sample_sum, sidecar_urls

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "operate.md"
RESIDENT = "penstock_process_resident_memory_bytes"
_PROCESS = re.compile(
    rf'^{RESIDENT}{{model="([^"]*)",pid="(\d+)",process="([^"]*)",version="([^"]*)"}} \S+$', re.MULTILINE
)


def scrape(mesh: MeshUnderTest) -> str:
    """Return what all sidecars tell, as the how-to has one ask for it."""
    command = re.search(r"```\n(for port in .*?)```", PAGE.read_text(), re.DOTALL)
    assert command is not None
    typed = command[1].replace(".penstock/state", str(mesh.state))
    done = subprocess.run(["/bin/bash", "-c", typed], check=False, capture_output=True, text=True, timeout=SOON_S)
    return done.stdout


def processes(text: str) -> dict[int, str]:
    """Return the processes that are told of by number."""
    return {int(pid): f"{process} {model}/{version}" for model, pid, process, version in _PROCESS.findall(text)}


def test_every_process_of_a_mesh_is_told_of_once_and_one_that_ends_no_more(model_store: Path, tmp_path: Path) -> None:
    with started_mesh(tmp_path, model_store) as mesh:
        mesh.wait_until_ready()
        wanted = {"up /", "gateway supervisor /", "gateway worker 0 /", "hub /", "sidecar /"}
        wanted |= {"pod server digits/1", "pod inference digits/1", "sidecar digits/1"}
        eventually(lambda: wanted <= set(processes(scrape(mesh)).values()), "every process is told of")
        text = scrape(mesh)
        told = processes(text)
        assert len(set(told.values())) == len(told) == len(_PROCESS.findall(text))
        (worker,) = (pid for pid, name in told.items() if name == "gateway worker 0 /")
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: worker not in processes(scrape(mesh)), "the worker that was killed is gone")


def test_the_busy_time_of_a_pod_is_what_its_batches_took(model_store: Path, tmp_path: Path) -> None:
    with started_mesh(tmp_path, model_store) as mesh:
        mesh.wait_until_ready()
        headers = {"authorization": f"Bearer {mesh.key}"}
        with httpx.Client(base_url=mesh.inference, headers=headers, trust_env=False, timeout=SOON_S) as client:
            answers = [client.post("/predictions/digits/1", json={"data": [0] * 64}) for _ in range(50)]
        charged_us = sum(
            int(answer.headers["penstock-usage"].partition(";")[0].partition("=")[2]) for answer in answers
        )
        eventually(lambda: len(sidecar_urls(mesh)) == 2, "both sidecars are listed")
        url = sidecar_urls(mesh)["digits/1/0"]

        def busy_s() -> float:
            return sample_sum(url, "penstock_device_busy_seconds_total", model="digits", device="cpu")

        eventually(lambda: busy_s() == pytest.approx(charged_us / 1e6, abs=1e-4), "the pod's device time is told")

        def busy_ratio() -> float:
            mesh.api.post("/predictions/digits/1", json={"data": [0] * 64}).raise_for_status()  # it is of one reading
            return sample_sum(url, "penstock_device_busy_ratio", model="digits", version="1")

        eventually(lambda: busy_ratio() > 0.0, "so is its share of the time since the reading before")
        whole = sidecar_urls(mesh)["gateway"]
        eventually(lambda: sample_sum(whole, "penstock_host_memory_available_bytes") > 0, "the machine is told of")
        eventually(lambda: sample_sum(whole, "penstock_state_disk_bytes") > 0, "and of its disk")
        assert sample_sum(url, "penstock_host_cpus") == 0, "one sidecar tells of the machine"
