"""A real Prometheus with the shipped configuration beside a real mesh: it reads everything, and every rule works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.commands.slo_export import exported
from deploy.local.sidecars import TARGETS_FILE
from deploy.prometheus.rule import Places
from deploy.prometheus.rule_file import RULES_FILE
from policies.load import load_directory
from telemetry.conventions import MODEL_LOAD_SECONDS, REQUESTS, SLO_EVENTS
from telemetry.machine_conventions import DEVICE_BUSY, HOST_AVAILABLE, PROCESS_RESIDENT
from tests.conformance.prometheus.server import Prometheus, running
from tests.system.digits import known_digits
from tests.system.mesh import MeshUnderTest, eventually, running_mesh

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.needs_program("prometheus")]

CONFIGS = Path(__file__).parents[2] / "deploy"
READ = {metric.name for metric in (REQUESTS, SLO_EVENTS, MODEL_LOAD_SECONDS, PROCESS_RESIDENT, HOST_AVAILABLE)}
WITHIN_S = 120.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), model_store) as one:
        yield one


def configured(mesh: MeshUnderTest, folder: Path) -> None:
    """Write the shipped configuration for this mesh's ports and folders, and its rules, evaluated all the time."""
    config = yaml.safe_load((CONFIGS / "prometheus" / "prometheus.yml").read_text())
    gateway, sidecars, hub = config["scrape_configs"]
    addresses, hub_file = mesh.published(), mesh.state / "hub.json"
    eventually(hub_file.exists, "the hub says where it is", within_s=WITHIN_S)
    gateway["static_configs"][0]["targets"] = [addresses.metrics.removeprefix("http://")]
    sidecars["file_sd_configs"][0]["files"] = [str(mesh.state / TARGETS_FILE)]
    hub["static_configs"][0]["targets"] = [json.loads(hub_file.read_text())["dashboards"].removeprefix("http://")]
    config["global"]["scrape_interval"] = "1s"
    del config["alerting"]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (rules,) = exported("prometheus", load_directory(mesh.policies), Places()).values()
    often = rules.decode().replace("interval: 1m", "interval: 1s").replace("interval: 30s", "interval: 1s")
    (folder / RULES_FILE).write_text(often)


def targets(server: Prometheus) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for one in server.read("/api/v1/targets")["activeTargets"]:
        found.setdefault(one["labels"]["job"], []).append(one)
    return found


def sidecars(server: Prometheus) -> set[str]:
    return {one["labels"]["penstock_sidecar"] for one in targets(server)["penstock-sidecars"]}


def rules(server: Prometheus) -> list[dict[str, Any]]:
    return [rule for group in server.read("/api/v1/rules")["groups"] for rule in group["rules"]]


def test_it_reads_every_process_of_a_mesh_and_every_rule_can_be_evaluated(mesh: MeshUnderTest, tmp_path: Path) -> None:
    configured(mesh, tmp_path)
    with running(tmp_path, configuration=None) as server:
        eventually(
            lambda: (
                all(one["health"] == "up" for own in targets(server).values() for one in own)
                and len(targets(server)) == 3
            ),
            "everything is read",
            within_s=WITHIN_S,
        )
        assert known_digits(mesh)  # asks for each
        eventually(lambda: sidecars(server) == {"gateway", "digits/1/0"}, "every sidecar is read", within_s=WITHIN_S)
        eventually(lambda: {one["health"] for one in rules(server)} == {"ok"}, "rules work", within_s=WITHIN_S)
        eventually(
            lambda: {*server.read("/api/v1/label/__name__/values")} >= {*READ, DEVICE_BUSY.name},
            "all is there",
            within_s=WITHIN_S,
        )
        assert [one["lastError"] for one in rules(server) if one.get("lastError")] == []
        assert not [one for one in rules(server) if one.get("state") == "firing"]
