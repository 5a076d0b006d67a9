"""The configurations for Prometheus that are shipped: they find what there is, by the names that rules ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from deploy.commands.slo_export import exported
from deploy.local.sidecars import TARGETS_FILE
from deploy.prometheus.mesh_rules import HUB_JOB, SIDECARS_JOB
from deploy.prometheus.rule import Places
from deploy.prometheus.rule_file import RULES_FILE
from policies.load import load_directory
from policies.snapshot.mesh import DEFAULT_LISTEN
from telemetry.conventions import GATEWAY_JOB

ROOT = Path(__file__).parents[3]
HERE = ROOT / "deploy" / "prometheus"
DOCKER = ROOT / "deploy" / "docker"
SERVICES: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
BESIDE: dict[str, Any] = yaml.safe_load((DOCKER / "prometheus.compose.yaml").read_text())
GUIDE = (ROOT / "docs" / "how-to" / "prometheus-and-grafana.md").read_text()
PORTS = {one.serves: one.address.rpartition(":")[2] for one in DEFAULT_LISTEN}


def jobs(folder: Path) -> dict[str, dict[str, Any]]:
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    assert config["rule_files"] == [RULES_FILE]
    assert (folder / RULES_FILE).is_file()
    return {one.pop("job_name"): one for one in config["scrape_configs"]}


def test_on_this_machine_it_finds_gateway_hub_and_the_sidecars_that_the_mesh_writes_down() -> None:
    state = ".penstock/state"  # where `penstock up` keeps it
    assert jobs(HERE) == {
        GATEWAY_JOB: {"static_configs": [{"targets": [f"127.0.0.1:{PORTS['metrics']}"]}]},
        SIDECARS_JOB: {"file_sd_configs": [{"files": [f"../../{state}/{TARGETS_FILE}"]}]},
        HUB_JOB: {"static_configs": [{"targets": [f"127.0.0.1:{PORTS['dashboards']}"]}]},
    }


def test_the_guide_shows_it_as_it_is() -> None:
    shown = next(block for block in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if "scrape_configs" in block)
    assert yaml.safe_load(shown) == yaml.safe_load((HERE / "prometheus.yml").read_text())


def test_of_the_containers_it_finds_every_sidecar_by_its_service() -> None:
    found = jobs(DOCKER / "prometheus")
    assert found[GATEWAY_JOB]["static_configs"] == [{"targets": ["gateway:8082"]}]
    assert found[HUB_JOB]["static_configs"] == [{"targets": ["gateway:8090"]}]
    assert SERVICES["hub"]["network_mode"] == "service:gateway"
    sidecars = {target for one in found[SIDECARS_JOB]["static_configs"] for target in one["targets"]}
    assert sidecars == {f"{name}:9464" for name in SERVICES if name.endswith("-sidecar")}


def test_prometheus_joins_the_network_of_all_that_it_reads_and_is_open_to_this_machine_alone() -> None:
    (service,) = BESIDE["services"].values()
    assert "pods" in service["networks"]
    assert all("pods" in SERVICES[name]["networks"] for name in SERVICES if name != "hub")
    assert service["ports"] == ["127.0.0.1:9090:9090"]
    assert service["read_only"] is True
    assert re.fullmatch(r"prom/prometheus:v\d+\.\d+\.\d+", service["image"])


def test_the_rules_of_the_containers_are_those_of_their_policy() -> None:
    snapshot = load_directory(DOCKER / "policies")
    places = Places(snapshot.mesh.name)
    for name, text in exported("prometheus", snapshot, places).items():
        written = "penstock slo export prometheus --policies deploy/docker/policies --to deploy/docker/prometheus"
        assert (DOCKER / "prometheus" / name).read_bytes() == text, written
