"""Other inputs are called drift within a few windows, the same ones are not, and no value of a row is kept anywhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from deploy.demo.data import load_split
from tests.fakes.load import LoadOptions, open_loop
from tests.fakes.records import Record
from tests.system.conftest import Figure
from tests.system.digits import request_bytes
from tests.system.mesh import MeshUnderTest, eventually, files_below, running_mesh

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

WINDOW_S = 5.0
RATE_PER_S = 130.0
ROUTE = """\
kind: route/v1
model: digits
owner: demo-team
versions:
  "1": {pods: {launch: {archive: digits-1.mar, device: cpu}}}
drift:
  sample: 100%
  inputs: [{path: /data, at_least: 0, at_most: 16}, {path: /note}]
  outputs: [{path: /label}]
  reference: {for: 5s}
  window: 5s
stable: "1"
"""
# Of the slices of time that a loaded machine takes from everybody, a few windows may be short of rows.
STEADY_WITHIN_S, DRIFTS_WITHIN_S = 120.0, 120.0
_LOOK_EVERY_S = 0.1
DRIFTING = 'penstock_drifting{model="digits",version="1"} 1.0'
SECRET = "hunter2-canary-Ada-Lovelace"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    policies = {"routes/digits.yaml": ROUTE, "slos.yaml": "kind: slos/v1\nslos: []\n"}
    with running_mesh(tmp_path_factory.mktemp("drift"), model_store, policies=policies) as running:
        yield running


class Traffic:
    """Requests at a steady rate, of digits as bright as is asked now."""

    def __init__(self, mesh: MeshUnderTest, digits: Sequence[Sequence[float]]) -> None:
        self.is_dim = False
        self.records: list[Record] = []
        self._mesh = mesh
        self._bodies = [self._requests(digits, share) for share in (1.0, 0.4)]

    def _requests(self, digits: Sequence[Sequence[float]], share: float) -> list[bytes]:
        return [
            request_bytes(
                self._mesh,
                "/predictions/digits",
                json.dumps({"data": [int(level * share) for level in pixels], "note": SECRET}).encode(),
            )
            for pixels in digits
        ]

    @contextmanager
    def flowing(self, for_s: float) -> Iterator[None]:
        """Send meanwhile, for so long at most."""
        is_over = threading.Event()
        thread = threading.Thread(target=lambda: uvloop.run(self._send(for_s, is_over)), daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    async def _send(self, for_s: float, is_over: threading.Event) -> None:
        until = asyncio.Event()

        async def look() -> None:
            while not is_over.is_set():  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(_LOOK_EVERY_S)
            until.set()

        looking = asyncio.create_task(look())
        self.records += await open_loop(
            self._mesh.inference,
            rate_per_s=RATE_PER_S,
            duration_s=for_s,
            make_request=lambda index: self._bodies[self.is_dim][index % len(self._bodies[0])],
            check=lambda index, status, body: status == 200,
            options=LoadOptions(),
            until=until,
        )
        looking.cancel()


def version(mesh: MeshUnderTest) -> dict[str, Any]:
    """Return what is said of version 1."""
    (one,) = mesh.admin("drift?model=digits")["versions"]
    assert isinstance(one, dict)
    return one


def measure(told: dict[str, Any], path: str, name: str) -> dict[str, Any]:
    """Return one measure of one part."""
    return next(
        one for part in told["parts"] if part["path"] == path for one in part["measures"] if one["measure"] == name
    )


def command(mesh: MeshUnderTest, *options: str) -> subprocess.CompletedProcess[str]:
    """Run ``penstock drift``."""
    argv: list[str | Path] = [
        Path(sys.executable).with_name("penstock"),
        "drift",
        "digits",
        "--state",
        mesh.state,
        *options,
    ]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_other_inputs_are_drift_and_the_same_are_not(mesh: MeshUnderTest, figure: Figure) -> None:
    _, held_out = load_split()
    traffic = Traffic(mesh, [[float(level) for level in pixels] for pixels in held_out.pixels])
    with traffic.flowing(STEADY_WITHIN_S + DRIFTS_WITHIN_S):
        eventually(lambda: version(mesh)["says"] == "steady", "the same is steady", within_s=STEADY_WITHIN_S)
        eventually(
            lambda: len(measure(version(mesh), "/data", "mean")["history"]) >= 3,
            "three windows are judged",
            within_s=STEADY_WITHIN_S,
        )
        assert version(mesh)["says"] == "steady"
        assert "digits/1: steady" in command(mesh, "--check").stdout
        traffic.is_dim = True
        changed_s = time.time()
        eventually(lambda: version(mesh)["says"] == "drifts", "other inputs drift", within_s=DRIFTS_WITHIN_S)
    called_s = time.time()
    told = version(mesh)
    data = measure(told, "/data", "mean")
    assert data["says"] == "drifts"
    above = [point for point in data["history"] if point["psi"] > point["limit"]]
    assert len(above) >= 3
    assert all(point["until_s"] > changed_s for point in above)
    windows = (above[2]["until_s"] - changed_s) / WINDOW_S
    figure(
        "drift of digits that are dimmer",
        f"called after {called_s - changed_s:.1f} s: {windows:.1f} windows of {WINDOW_S:g} s, PSI {data['psi']:.2f}",
    )

    said = command(mesh, "--check")
    assert said.returncode == 1
    assert "digits/1: drifts: mean of input /data" in said.stdout
    assert measure(told, "/note", "length")["says"] == "steady"

    eventually(lambda: DRIFTING in metrics_of_the_pod(mesh), "the sidecar says so")
    sidecar = metrics_of_the_pod(mesh)
    assert 'field="/data",measure="mean"' in sidecar
    assert SECRET not in sidecar
    assert SECRET not in json.dumps(mesh.admin("drift")) + said.stdout
    kept = files_below(mesh.state)
    assert any(path.suffix == ".windows" for path in kept)
    assert not [path for path, content in kept.items() if SECRET.encode() in content]


def metrics_of_the_pod(mesh: MeshUnderTest) -> str:
    """Return what the sidecar of the pod shows."""
    targets = json.loads((mesh.state / "prometheus-targets.json").read_text())
    address = next(one["targets"][0] for one in targets if one["labels"]["penstock_sidecar"] == "digits/1/0")
    return mesh.api.get(f"http://{address}/metrics").text
