"""``penstock top`` and ``penstock slo`` of a true mesh: what was asked of it is what they show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.demo_policies import DEMO
from tests.system.digits import known_digits, predict
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.models import EVERY_MODEL
from tests.system.seen import penstock

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

POLICIES = {
    **EVERY_MODEL,
    "routes/text.yaml": (DEMO / "routes" / "text.yaml").read_text(),
    "slos.yaml": (DEMO / "slos.yaml").read_text(),
}
REQUESTS = 40


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("top"), model_store, policies=POLICIES) as running:
        yield running


def digits_of(mesh: MeshUnderTest) -> dict[str, Any]:
    """Return the line of digits' stable version."""
    told = json.loads(penstock(mesh, "top", "--once", "--json").stdout)
    return next(one for one in told["versions"] if one["model"] == "digits" and one["is_stable"])


def test_top_shows_what_the_mesh_was_asked(mesh: MeshUnderTest) -> None:
    digit = known_digits(mesh)[0]
    for _ in range(REQUESTS):
        predict(mesh, digit)
    line: dict[str, Any] = {}

    def are_shown() -> bool:
        line.update(digits_of(mesh))
        return bool(line["requests_per_s"] >= REQUESTS / 40)

    eventually(are_shown, "the requests are shown")
    assert line["ready_pods"] == line["pods"] >= 1
    assert 0 < line["p50_s"] <= line["p99_s"] < 10
    assert 0.0 <= line["busy"] <= 1.0
    assert line["state"] in ("ok", "no data")

    def has_told() -> bool:
        (pod,) = [one for one in mesh.admin("pods")["pods"] if one["name"].startswith(f"digits/{line['version']}/")]
        return bool(pod["batches"] > 0 and pod["batch_rows"] >= REQUESTS and pod["device_s"] > 0)

    eventually(has_told, "the pod tells of what it ran")
    printed = penstock(mesh, "top").stdout
    assert f"digits/{line['version']} " in printed
    assert "\x1b" not in printed
