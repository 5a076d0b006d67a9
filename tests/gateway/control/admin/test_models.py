"""A role for some models: it is shown these and nothing of the others."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from gateway.control.admin import mesh_routes, policy_routes, slo_routes
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh, Role
from policies.snapshot.tenant import Key, Tenant
from tests.gateway.control.admin.asking import ask
from tests.gateway.control.test_management import HISTORY, SLOTS, VIEW

KEY = Key("rank-1", hashlib.sha256(b"msk_rank").hexdigest(), ("infer",))


def asked(path: str, *models: str) -> httpx.Response:
    """Ask with a key whose role is for these models."""
    role = Role("rank", ("key:rank-1",), ("pod.read", "slo.*", "policy.read", "status.read"), models)
    tenants = {"rank": Tenant("rank", "us", "gold", (KEY,), ("digits",))}
    rooms = [
        policy_routes.router(VIEW.policy),
        mesh_routes.router(VIEW.pods, VIEW.status),
        slo_routes.router(VIEW.slo, VIEW.slo_history, VIEW.slo_slots, VIEW.alerts, VIEW.activity),
    ]
    snapshot = Snapshot(1, "d" * 64, Mesh("m", roles=(role,)), tenants=tenants)
    return ask(rooms, path, headers={"authorization": "Bearer msk_rank"}, snapshot=snapshot)


def test_pods_and_objectives_are_those_of_its_models() -> None:
    assert [pod["name"] for pod in asked("/admin/pods", "digits").json()["pods"]] == ["digits/1/0"]
    assert [one["model"] for one in asked("/admin/pods", "digits").json()["stable_versions"]] == ["digits"]
    ranker = asked("/admin/pods", "ranker").json()
    assert (ranker["pods"], ranker["stable_versions"]) == ([], [])
    assert {slo["model"] for slo in asked("/admin/slo", "digits").json()["slos"]} == {"digits"}
    others = asked("/admin/slo", "ranker").json()
    assert (others["slos"], others["models"]) == ([], [])
    assert [one["model"] for one in asked("/admin/activity", "digits").json()["models"]] == ["digits"]
    assert asked("/admin/activity", "ranker").json()["models"] == []
    assert {one["model"] for one in asked("/admin/slo/alerts", "digits").json()["alerts"]} == {"digits"}
    assert asked("/admin/slo/alerts", "ranker").json()["alerts"] == []


def test_the_past_of_another_model_s_objective_is_refused_whether_there_is_one_or_not() -> None:
    assert asked(HISTORY, "digits").status_code == asked(SLOTS, "digits").status_code == 200
    for path in (HISTORY, HISTORY.replace("model=digits", "model=nope"), SLOTS):
        refused = asked(path, "ranker")
        assert (refused.status_code, refused.json()["reason"]) == (403, "permission_missing")
        assert "slo.read on the model" in refused.json()["message"]


@pytest.mark.parametrize("path", ["/admin/policy", "/admin/status"])
def test_what_is_of_the_whole_mesh_is_not_for_it(path: str) -> None:
    assert asked(path, "digits").status_code == 403
    assert asked(path).status_code == 200
