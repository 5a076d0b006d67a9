"""The Dockerfiles and the compose file, read as text: no container engine is needed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.load import load_directory

DOCKER = Path(__file__).parents[3] / "deploy" / "docker"
DOCKERFILES = sorted(path.name for path in DOCKER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return (word, rest) of each instruction, continuation lines joined."""
    text = re.sub(r"^#.*\n", "", (DOCKER / dockerfile).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def values(dockerfile: str, word: str) -> list[str]:
    return [rest for instruction, rest in instructions(dockerfile) if instruction == word]


def test_every_program_has_an_image() -> None:
    entries = [json.loads(entry)[:2] for dockerfile in DOCKERFILES for entry in values(dockerfile, "ENTRYPOINT")]
    assert entries == [["penstock", program] for program in ("gateway", "hub", "pod", "sidecar")]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_bases_are_pinned_to_a_patch_release(dockerfile: str) -> None:
    for base in values(dockerfile, "FROM"):
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+( AS \w+)?", base)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_process_is_not_root_and_its_health_is_checked(dockerfile: str) -> None:
    words = [word for word, _ in instructions(dockerfile)]
    user = values(dockerfile, "USER")[-1].partition(":")[0]
    assert user.isdecimal()
    assert int(user) > 0
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "RUN" not in words[words.index("USER") :]
    assert "HEALTHCHECK" in words


def installs(dockerfile: str) -> list[list[str]]:
    """Return the arguments of each `pip install`."""
    runs = [run for run in values(dockerfile, "RUN") if "pip install" in run]
    return [shlex.split(run.partition("pip install")[2]) for run in runs]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_one_extra_is_installed_with_the_pins(dockerfile: str) -> None:
    name = dockerfile.partition(".")[0]
    extra = {"gateway": "gateway", "pod": "pod", "sidecar": "telemetry", "hub": "telemetry"}[name]
    assert installs(dockerfile)[0] == ["--no-cache-dir", "-c", "constraints.txt", f".[{extra}]"]


def test_nothing_else_is_installed_but_what_the_text_model_needs() -> None:
    others = {dockerfile: more for dockerfile in DOCKERFILES if (more := installs(dockerfile)[1:])}
    pins = "deploy/demo/text/requirements.txt"
    packages = ["safetensors", "tokenizers"]
    assert others == {"pod.Dockerfile": [["--no-cache-dir", "--no-deps", "-c", pins, *packages]]}
    pinned = re.findall(r"^([\w-]+)==\d", (DOCKER.parents[1] / pins).read_text(), re.MULTILINE)
    assert set(packages) <= set(pinned)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_is_copied_is_there_and_reaches_the_build(dockerfile: str) -> None:
    checkout = DOCKER.parents[1]
    let_in = {line[1:] for line in (checkout / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for copied in values(dockerfile, "COPY"):
        if not copied.startswith("--from="):
            sources = copied.split()[:-1]
            assert set(sources) <= let_in
            assert [name for name in sources if name != "LICENSE" and not (checkout / name).exists()] == []


def test_compose_starts_our_images_hardened_and_without_secrets() -> None:
    for service in COMPOSE["services"].values():
        assert re.fullmatch(r"penstock-\w+:\d+\.\d+\.\d+", service["image"])
        assert (DOCKER.parents[1] / service["build"]["dockerfile"]).is_file()
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service.get("privileged") is None
        assert set(service.get("environment", ())) <= {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert "msk_" not in (DOCKER / "compose.yaml").read_text()


def test_compose_names_only_what_it_defines() -> None:
    for service in COMPOSE["services"].values():
        assert set(service.get("networks", ())) <= set(COMPOSE["networks"])
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert service.get("network_mode", "service:gateway") == "service:gateway"
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith(".")


def test_a_volume_belongs_to_the_user_of_every_image_that_mounts_it() -> None:
    """An engine makes a new volume's owner that of the directory in the image, which is root where there is none."""
    for service in COMPOSE["services"].values():
        dockerfile = Path(service["build"]["dockerfile"]).name
        user = values(dockerfile, "USER")[-1].partition(":")[0]
        (made,) = re.findall(rf"install -d -o {user} -g {user} -m 0700 (.*)$", values(dockerfile, "RUN")[-1])
        targets = {volume.split(":")[1] for volume in service["volumes"] if not volume.startswith(".")}
        assert targets <= set(made.split())


def test_only_the_gateway_and_the_pages_are_reachable_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"gateway": [f"127.0.0.1:{port}:{port}" for port in (8080, 7070, 8082, 8090)]}
    assert COMPOSE["networks"]["pods"]["internal"] is True


def test_the_policy_of_the_containers_is_good_and_names_their_pods() -> None:
    snapshot = load_directory(DOCKER / "policies")
    for route in snapshot.routes.values():
        for version in route.versions.values():
            assert version.static is not None
            for address in version.static.addresses:
                host, _, port = address.rpartition(":")
                assert (host in COMPOSE["services"], port) == (True, "8500")
        assert route.slo == ("digits-availability", "digits-latency")
    assert {one.serves: one.address for one in snapshot.mesh.listen} == {
        "inference": "0.0.0.0:8080",
        "inference-grpc": "0.0.0.0:7070",
        "admin": "127.0.0.1:8081",
        "metrics": "0.0.0.0:8082",
    }
