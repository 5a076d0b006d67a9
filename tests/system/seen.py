"""What a running mesh shows of itself: traces from its hub, objectives and metrics from its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from deploy.local.hub import RunningHub, running_hub
from deploy.local.sidecars import TARGETS_FILE
from tests.system.mesh import SOON_S, MeshUnderTest, eventually

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def hub_of(mesh: MeshUnderTest) -> RunningHub:
    """Return the hub, waiting until it has published where it listens."""
    eventually(lambda: running_hub(mesh.state), "the hub publishes where it listens")
    hub = running_hub(mesh.state)
    assert hub is not None
    return hub


def penstock(mesh: MeshUnderTest, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the mesh's owner does."""
    program = Path(sys.executable).with_name("penstock")
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(mesh.state.parent / "run")}
    return subprocess.run(
        [program, *arguments], env=environ, capture_output=True, text=True, timeout=SOON_S, check=False
    )


def trace(mesh: MeshUnderTest, request_id: str, *options: str) -> dict[str, Any]:
    """Return what ``penstock trace`` tells of a request."""
    told = penstock(mesh, "trace", request_id, "--json", *options)
    assert told.returncode == 0, told.stderr
    shown: dict[str, Any] = json.loads(told.stdout)
    return shown


def stored_trace(hub: RunningHub, request_id: str) -> dict[str, Any]:
    """Return what the hub shows of a request, once all of it has arrived: its batch comes with its pod's spans.

    The gateway's come apart from those, and may be the last.
    """
    shown: dict[str, Any] = {}

    def is_whole() -> bool:
        answer = httpx.get(f"{hub.dashboards}/api/traces/{request_id}", trust_env=False, timeout=SOON_S)
        shown.update(answer.json())
        if answer.status_code != 200:
            return False
        return {"gateway.request", "pod.request"} <= {span["name"] for span in shown["spans"]}

    eventually(is_whole, f"the trace of {request_id} is stored")
    return shown


def objective(mesh: MeshUnderTest, name: str) -> dict[str, Any]:
    """Return what the supervisor reports of an objective."""
    return next(slo for slo in mesh.admin("slo")["slos"] if slo["name"] == name)


def sidecar_urls(mesh: MeshUnderTest) -> dict[str, str]:
    """Return where each sidecar serves its metrics, by name."""
    eventually((mesh.state / TARGETS_FILE).exists, "the sidecars are listed")
    targets = msgspec.json.decode((mesh.state / TARGETS_FILE).read_bytes())
    return {one["labels"]["penstock_sidecar"]: f"http://{one['targets'][0]}" for one in targets}


def sample_sum(url: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    url = f"{url.removesuffix('/metrics')}/metrics"
    answer = httpx.get(url, headers={"accept": OPENMETRICS}, trust_env=False, timeout=SOON_S)
    return sum(
        sample.value
        for family in text_string_to_metric_families(answer.raise_for_status().text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
