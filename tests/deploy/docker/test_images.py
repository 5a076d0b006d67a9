"""The Dockerfiles and the compose file, read as text: no container engine is needed."""

from __future__ import annotations

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


def test_the_gateway_and_the_pod_have_an_image() -> None:
    assert {"gateway.Dockerfile", "pod.Dockerfile"} <= set(DOCKERFILES)


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


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_one_extra_is_installed_with_the_pins_and_nothing_else(dockerfile: str) -> None:
    installs = [run for run in values(dockerfile, "RUN") if "pip install" in run]
    assert len(installs) == 1
    name = dockerfile.partition(".")[0]
    extra = {"gateway": "gateway", "pod": "pod", "sidecar": "telemetry"}[name]
    arguments = shlex.split(installs[0].partition("pip install")[2])
    assert arguments == ["--no-cache-dir", "-c", "constraints.txt", f".[{extra}]"]


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
        assert "environment" not in service
    assert "msk_" not in (DOCKER / "compose.yaml").read_text()


def test_compose_names_only_what_it_defines() -> None:
    for service in COMPOSE["services"].values():
        assert set(service["networks"]) <= set(COMPOSE["networks"])
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or source.startswith(".")


def test_only_the_gateway_is_reachable_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert published == {"gateway": ["127.0.0.1:8080:8080"]}
    assert COMPOSE["networks"]["pods"]["internal"] is True


def test_the_policy_of_the_containers_is_good_and_names_their_pods() -> None:
    snapshot = load_directory(DOCKER / "policies")
    for route in snapshot.routes.values():
        for version in route.versions.values():
            assert version.static is not None
            for address in version.static.addresses:
                host, _, port = address.rpartition(":")
                assert (host in COMPOSE["services"], port) == (True, "8500")
