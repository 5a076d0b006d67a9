"""Shadows on live traffic: verdicts, faults that no caller notices, and what must never be copied."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.decide.api_keys import key_of, sha256_hex
from tests.fakes.taking_server import TakingServer
from tests.system.conftest import Figure
from tests.system.mesh import MeshUnderTest, eventually, files_below, running_mesh
from tests.system.releases.ground import SLOS, Ground, broken_store, ground, route

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

RATE_PER_S = 100.0


def shadow(name: str, version: str, more: str = "") -> str:
    return (
        f'shadow:\n  - name: {name}\n    version: "{version}"\n    sample: 100%\n    limits: {{in_flight: 64}}\n{more}'
        "    compare:\n      noise_floor: {repeat_stable: 20%}\n      outputs: [{path: /label, as: label}]\n"
        "      verdict: {at_least: 200, worse_if_above_noise_by: 1%}\n"
    )


def verdict(on: Ground, name: str, wanted: str, most_s: float) -> dict[str, Any]:
    """Ask until the shadow has this verdict."""
    asked = uvloop.run(on.ask(RATE_PER_S, most_s, goes_on=lambda _: on.shadow(name)["says"] != wanted))
    assert all(one.record.is_right for one in asked)
    report = on.shadow(name)
    assert report["says"] == wanted, report
    return report


def test_the_same_model_is_called_the_same_also_after_the_process_of_copies_was_killed(
    tmp_path: Path, model_store: Path, figure: Figure
) -> None:
    with ground(tmp_path, model_store, {"2": "digits-1.mar"}, shadow("again", "2")) as on:
        report = verdict(on, "again", "same", 60.0)
        assert report["differ"] == 0
        figure("a shadow of the same model", f"{report['compared']} compared: {report['because']}")
        shown = on.command("shadow", "report", "digits")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert "same" in shown.stdout
        _check_no_caller_notices_that_copies_end(on)


def _check_no_caller_notices_that_copies_end(on: Ground) -> None:
    (pid,) = on.mesh.pids("penstock gateway copies")
    subprocess.run(["kill", "-9", str(pid)], check=True)
    asked = uvloop.run(on.ask(RATE_PER_S, 4.0))
    assert all(one.record.is_right for one in asked)
    eventually(lambda: on.mesh.pids("penstock gateway copies") not in ([], [pid]), "it is started again")
    before = on.shadow("again")["compared"]
    assert before >= 200  # what it had kept
    uvloop.run(on.ask(RATE_PER_S, 60.0, goes_on=lambda _: on.shadow("again")["compared"] <= before))
    eventually(lambda: on.shadow("again")["compared"] > before, "it compares again")


def test_one_that_is_wrong_on_3_percent_is_called_within_2000_comparisons(
    tmp_path: Path, model_store: Path, figure: Figure
) -> None:
    store = broken_store(model_store, tmp_path, "wrong", share=0.03)
    with ground(tmp_path, store, {"3": "digits-3.mar"}, shadow("dark", "3")) as on:
        report = verdict(on, "dark", "differs", 60.0)
        assert report["compared"] <= 2500  # told once a second, after some hundreds more
        assert report["worst"]
        assert all(len(one["stable"]) <= 64 for one in report["worst"])
        figure("a shadow that differs on 3 %", f"{report['compared']} compared: {report['because']}")
        assert on.command("shadow", "report", "digits").returncode == 1


@pytest.mark.parametrize("broken_by", ["raise", "late"])
def test_a_shadow_that_fails_or_hangs_is_no_callers_business(
    tmp_path: Path, model_store: Path, broken_by: str, figure: Figure
) -> None:
    store = broken_store(model_store, tmp_path, broken_by)
    more = "    deadline: 500ms\n"
    with ground(tmp_path, store, {"3": "digits-3.mar"}, shadow("dark", "3", more)) as on:
        report = verdict(on, "dark", "worse", 60.0)
        assert report["answers"]["only_shadow_failed"] > 0
        counted = [line for line in on.metrics("penstock_slo_events_total") if 'version="3"' in line]
        assert {line.rpartition(" ")[2] for line in counted} == {"0.0"}  # declared for every version, counted of none
        figure(f"a shadow that is broken ({broken_by})", f"{report['because']} not copied: {report['not_copied']}")


# --- what must never be copied

SECRET = "planted-5f0e7c21"
TENANT = """\
kind: tenant/v1
name: {name}
owner: {name}-team
tier: demo
keys:
  - {{id: {name}-1, sha256: {sha256}, scopes: [infer]}}
shadow: {consent}
may_call: [digits]
"""


@pytest.fixture(scope="module")
def shadow_server() -> Iterator[TakingServer]:
    with TakingServer(json.dumps({"label": 1}).encode()) as server:
        yield server


@pytest.fixture(scope="module")
def secretive(
    tmp_path_factory: pytest.TempPathFactory, model_store: Path, shadow_server: TakingServer
) -> Iterator[tuple[MeshUnderTest, dict[str, str]]]:
    """A mesh whose shadow keeps what it is sent, with a tenant that consents and one that does not, and their keys."""
    home = tmp_path_factory.mktemp("secrets")
    keys = {name: key_of("abcdefghij23", letter * 43) for name, letter in (("open", "o"), ("closed", "c"))}
    more = (
        "record: {sample: 100%, for: 1h, drop_headers: [x-token], drop_fields: [/secret, /list/*/secret]}\n"
        "feedback: {label: /label}\n"
        'shadow:\n  - name: taking\n    version: "9"\n    sample: 100%\n'
        "    privacy: {drop_headers: [x-token], drop_fields: [/secret, /list/*/secret], keep: bodies, for: 1h}\n"
    )
    text = route({}, more).replace(
        "versions:\n", f'versions:\n  "9": {{pods: {{static: ["{shadow_server.address}"]}}}}\n'
    )
    policies = {"slos.yaml": SLOS, "routes/digits.yaml": text}
    for name, consent in (("open", "allow"), ("closed", "deny")):
        policies[f"tenants/{name}.yaml"] = TENANT.format(name=name, sha256=sha256_hex(keys[name]), consent=consent)
    with running_mesh(home, model_store, policies=policies) as mesh:
        mesh.said.line("takes copies of requests")
        eventually(lambda: mesh.pod("digits/9/0")["state"] == "ready", "the shadow's server is ready")
        yield mesh, keys


def test_nothing_of_a_tenant_that_denies_reaches_a_shadow_or_a_store(
    secretive: tuple[MeshUnderTest, dict[str, str]], shadow_server: TakingServer
) -> None:
    mesh, keys = secretive
    _ask(mesh, keys["closed"], f"{SECRET}-header", {"data": [0] * 64, "note": f"{SECRET}-body"}, 20)
    _ask(mesh, keys["open"], "t", {"data": [0] * 64, "note": "seen"}, 20)
    eventually(lambda: len(shadow_server.taken) >= 20, "the shadow is sent the copies of the other tenant")
    assert all(b"seen" in taken and b"penstock-shadow: taking" in taken.lower() for taken in shadow_server.taken)
    # Nothing was found where something would have been: the other tenant's are there.
    eventually(lambda: _is_recorded(mesh, b"seen"), "the requests of the other tenant are recorded")
    assert _found(mesh, shadow_server, SECRET) == []


def test_what_policy_drops_reaches_neither(
    secretive: tuple[MeshUnderTest, dict[str, str]], shadow_server: TakingServer
) -> None:
    mesh, keys = secretive
    secret = f"{SECRET}-dropped"
    body = {"data": [0] * 64, "secret": secret, "list": [{"secret": secret, "kept": "kept-1"}], "note": "dropping"}
    _ask(mesh, keys["open"], secret, body, 20)
    eventually(
        lambda: sum(b"dropping" in taken for taken in list(shadow_server.taken)) >= 20, "the shadow is sent the copies"
    )
    assert any(b"kept-1" in taken for taken in shadow_server.taken)
    eventually(lambda: _is_recorded(mesh, b"kept-1"), "they are recorded")
    assert _found(mesh, shadow_server, secret) == []
    assert _found(mesh, shadow_server, keys["open"]) == []


def _ask(mesh: MeshUnderTest, key: str, header: str, body: dict[str, Any], count: int) -> None:
    for _ in range(count):
        answer = mesh.api.post(
            "/predictions/digits",
            json=body,
            headers={"authorization": f"Bearer {key}", "x-token": header, "cookie": header},
        )
        assert answer.status_code == 200, answer.text


def _is_recorded(mesh: MeshUnderTest, text: bytes) -> bool:
    kept = files_below(mesh.state / "recordings").items()
    return any(text in content for path, content in kept if path.suffix == ".requests")


def _found(mesh: MeshUnderTest, server: TakingServer, secret: str) -> list[str]:
    """Return where the secret is: what the shadow was sent, and every file of the mesh's state."""
    found = ["the shadow"] if any(secret.encode() in taken for taken in server.taken) else []
    found += [str(path) for path, content in files_below(mesh.state).items() if secret.encode() in content]
    return found
