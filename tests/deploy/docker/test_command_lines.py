"""What containers are started with, read by the programs' own parsers, and whether they find one another with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gateway.control.__main__ import read_config
from gateway.control.runtime_file import FILE_NAME as MESH_FILE
from gateway.control.slo_keeper import OBJECTIVES_FILE
from model_pod.server.config import PodConfig
from model_pod.server.config import parse_arguments as read_pod
from telemetry.hub.config import HubConfig
from telemetry.hub.config import parse_arguments as read_hub
from telemetry.sidecar.config import Address, SidecarConfig
from telemetry.sidecar.config import parse_arguments as read_sidecar

DOCKER = Path(__file__).parents[3] / "deploy" / "docker"
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

Config = TypeVar("Config")


def configured(name: str, read: Callable[[list[str]], Config]) -> Config:
    """Return a service's configuration as its program reads it: the image's words, then those of the compose file."""
    dockerfile = (DOCKER / Path(SERVICES[name]["build"]["dockerfile"]).name).read_text()
    entry = re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)
    assert entry
    words = [*json.loads(entry[1])[2:], *SERVICES[name]["command"]]
    return read([re.sub(r"\$\{\w+:\?[^}]*\}", "a" * 64, word) for word in words])


def pod() -> PodConfig:
    return configured("digits-1", read_pod)


def hub() -> HubConfig:
    return configured("hub", read_hub)


def sidecar(name: str) -> SidecarConfig:
    return configured(f"{name}-sidecar", read_sidecar)


def in_volume(name: str, path: str | Path | None) -> str:
    """Return a path in a container as its place in a volume, so that containers can be compared."""
    for volume in SERVICES[name]["volumes"]:
        source, target = volume.split(":")[:2]
        if path is not None and Path(path).is_relative_to(target):
            return f"{source}/{Path(path).relative_to(target)}"
    raise AssertionError(f"{path} of {name} is in no volume")


def path_of(address: Address | int | None) -> str:
    assert isinstance(address, Address)
    return address.path


def reachable(asking: str, address: Address | int | None) -> str:
    """Return the service that an address names; both are in one network."""
    assert isinstance(address, Address)
    assert set(SERVICES[asking]["networks"]) & set(SERVICES[address.host]["networks"])
    return f"{address.host}:{address.port}"


def test_a_process_and_its_sidecar_meet_at_one_socket() -> None:
    gateway = configured("gateway", read_config)
    for name, records in (("gateway", gateway.records), ("digits-1", pod().records)):
        assert in_volume(name, records) == in_volume(f"{name}-sidecar", path_of(sidecar(name).records))


def test_sidecars_export_to_the_hub() -> None:
    received = in_volume("hub", hub().otlp_unix)
    for name in ("gateway", "digits-1"):
        export = sidecar(name).export
        assert export is not None
        assert in_volume(f"{name}-sidecar", path_of(export.address)) == received
        assert in_volume(f"{name}-sidecar", sidecar(name).queue) == f"{name}-queue/."


def test_a_pods_sidecar_watches_its_pod_and_heeds_the_gateways() -> None:
    assert sidecar("gateway").pod is None
    assert sidecar("gateway").keep_from is None
    assert reachable("digits-1-sidecar", sidecar("digits-1").pod) == f"digits-1:{pod().listen.rpartition(':')[2]}"
    listen = sidecar("gateway").listen
    assert isinstance(listen, Address)
    assert reachable("digits-1-sidecar", sidecar("digits-1").keep_from) == f"gateway-sidecar:{listen.port}"


def test_a_handlers_spans_go_to_its_sidecar() -> None:
    listen = sidecar("digits-1").listen
    assert isinstance(listen, Address)
    environment = SERVICES["digits-1"]["environment"]
    assert environment == {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://digits-1-sidecar:{listen.port}"}


def test_the_gateways_state_is_where_hub_and_sidecar_look_for_it() -> None:
    state = configured("gateway", read_config).state
    assert in_volume("hub", hub().mesh) == in_volume("gateway", state / MESH_FILE)
    assert in_volume("gateway-sidecar", sidecar("gateway").slos) == in_volume("gateway", state / OBJECTIVES_FILE)
    readers = ("hub", "gateway-sidecar")
    assert all("gateway-state:/var/lib/penstock-gateway:ro" in SERVICES[name]["volumes"] for name in readers)


def test_the_hub_shares_the_gateways_loopback_and_asks_for_a_token() -> None:
    assert SERVICES["hub"]["network_mode"] == "service:gateway"
    assert f"127.0.0.1:{hub().listen.port}:{hub().listen.port}" in SERVICES["gateway"]["ports"]
    (secret,) = SERVICES["hub"]["secrets"]
    assert hub().token_file == Path("/run/secrets") / secret
    assert in_volume("hub", hub().store).startswith("hub-state/")
