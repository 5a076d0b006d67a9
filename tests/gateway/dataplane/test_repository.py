"""The index of models: what a caller may call, and what state its pods are in."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from gateway.control.messages import PodView
from gateway.dataplane.repository import Indexed, repository_index
from gateway.decide.decision import Decision
from gateway.decide.tables import Tables
from model_pod.wire.status import PodState
from tests.fakes.pod import echo
from tests.gateway.dataplane.mesh import Mesh, in_mesh, view
from tests.gateway.policy import KEY, policy

POD = PodView("digits/1/0", "digits", "1", "unix:/p", PodState.READY, was_ready=True, message="why")
CALLER = Decision(1, None, "ads")


def index(*pods: PodView, only_ready: bool = False) -> list[Indexed]:
    return repository_index(Tables(policy()), CALLER, lambda model, version: pods, only_ready=only_ready)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (PodState.STARTING, "LOADING"),
        (PodState.RESTARTING, "LOADING"),
        (PodState.DRAINING, "UNLOADING"),
        (PodState.FAILED, "UNAVAILABLE"),
    ],
)
def test_a_version_is_as_its_best_pod_is(state: PodState, told: str) -> None:
    pod = replace(POD, state=state)
    assert index(pod) == [Indexed("digits", "1", told, "why")]
    assert index(pod, only_ready=True) == []
    assert index(pod, POD, only_ready=True) == [Indexed("digits", "1", "READY", "")]


def test_who_may_call_every_model_sees_every_model() -> None:
    snapshot = policy()
    everything = replace(snapshot, tenants={"ads": replace(snapshot.tenants["ads"], may_call=("*",))})
    found = repository_index(Tables(everything), CALLER, lambda model, version: (), only_ready=False)
    assert [(one.name, one.state, one.reason) for one in found] == [
        ("digits", "UNAVAILABLE", "it has no pod"),
        ("secret", "UNAVAILABLE", "it has no pod"),
    ]


def test_it_is_told_over_http_too() -> None:
    async def body(mesh: Mesh) -> None:
        async def models(target: str, method: str) -> list[tuple[str, str]]:
            head = f"{method} {target} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n"
            length = "Content-Length: 0\r\n" if method == "POST" else ""
            answer = await mesh.ask(f"{head}{length}\r\n".encode())
            assert answer.status == 200
            return [(one["version"], one["state"]) for one in json.loads(answer.body)]

        assert await models("/v2/repository/index", "POST") == [("1", "READY"), ("2", "UNAVAILABLE")]
        assert await models("/v2/repository/index?ready=true", "GET") == [("1", "READY")]
        mesh.gateway.pods.replace((view(mesh.pods[0], 0, PodState.RESTARTING),))
        assert await models("/v2/repository/index?ready=true", "POST") == []

    in_mesh(body, echo)
