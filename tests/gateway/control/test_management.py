"""The management API over ASGI: true answers, true OpenAPI, default deny."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Message

from gateway.control import management
from gateway.control.admin import mesh_routes, policy_routes, slo_routes
from gateway.control.admin.permissions import UnguardedRoute, needs
from gateway.control.desired import PodPlace
from gateway.control.management import MAX_BODY_BYTES, make_api
from gateway.control.pod_table import PodRecord, PodTable
from gateway.control.policy_keeper import PolicyInForce, PolicyRefusal
from gateway.control.reports import AddressesReport, EndedWorkersReport, MeshView, StatusReport, WaitingReport
from gateway.control.slo_engine import SloEngine
from gateway.control.slo_past_view import alerts_report, slots_report
from gateway.control.slo_view import activity_report, history_report, slo_report
from gateway.control.view import pods_report, policy_report, readiness_report
from model_pod.wire.status import PodState
from policies.errors import PolicyError
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Launch, Route, Version
from tests.gateway.control.admin import asking
from tests.gateway.control.objectives import START_S, engine, events, requests, tally

HISTORY = "/admin/slo/history?slo=digits-availability&model=digits"
SLOTS = "/admin/slo/slots?slo=digits-availability&model=digits"
REPORTS = [
    "/admin/policy",
    "/admin/pods",
    "/admin/status",
    "/admin/slo",
    "/admin/slo/alerts",
    "/admin/activity",
    HISTORY,
    SLOTS,
]
ROUTE = Route("digits", "vision", {"1": Version("1", launch=Launch("digits-1.mar"))}, "1")
SNAPSHOT = Snapshot(3, "d" * 64, Mesh("demo"), routes={"digits": ROUTE})
PLACE = PodPlace("digits/1/0", "digits", "1", "unix:/p", None)
TABLE: PodTable = {(PLACE.name, PLACE.address): PodRecord(PLACE)}
REFUSAL = PolicyRefusal((PolicyError("limits.yaml", 4, 9, "no unit", "Write 5/s."),), at_s=0.0)


def status() -> StatusReport:
    return StatusReport(
        mesh="demo",
        version="0.1.0",
        pid=1,
        started_at="2026-01-01T00:00:00.000+00:00",
        uptime_s=1.0,
        is_draining=False,
        generation=3,
        readiness=readiness_report(SNAPSHOT, TABLE, 1, 2, is_draining=False),
        workers=[],
        worker_restarts=0,
        workers_to_replace=0,
        ended_workers=EndedWorkersReport(requests=4, by_reason={"rate_limited": 1}),
        pods=[],
        addresses=AddressesReport(["127.0.0.1:1"], ["127.0.0.1:2"], ["127.0.0.1:3"]),
        state_dir="/state",
    )


VIEW = MeshView(
    policy=lambda: policy_report(
        PolicyInForce(SNAPSHOT, 0.0, ("route digits added",)),
        REFUSAL,
        WaitingReport(4, ["route digits: stable 1 -> 2"], ["digits/2"], 42.0),
        ["mesh.yaml"],
    ),
    pods=lambda: pods_report(SNAPSHOT, TABLE, 10.0),
    status=status,
    slo=lambda: slo_report(counted_engine(), START_S + 1.0),
    slo_history=lambda question: history_report(counted_engine(), question, START_S + 1.0),
    slo_slots=lambda slo, model: slots_report(counted_engine(), slo, model, START_S + 1.0),
    alerts=lambda: alerts_report(counted_engine(), {}, START_S + 1.0),
    activity=lambda within_s: activity_report(counted_engine(), within_s, START_S + 1.0),
)


def counted_engine() -> SloEngine:
    """Return an engine that has counted something of everything it reports."""
    counted = engine()
    counted.take(1, tally(START_S, events(90, 10), requests(100)), START_S)
    counted.judge_alerts(START_S + 10.0)
    return counted


def ask(path: str, method: str = "GET", headers: dict[str, str] | None = None, view: MeshView = VIEW) -> httpx.Response:
    """Ask the application as a program with the token does."""
    rooms = [
        policy_routes.router(view.policy),
        mesh_routes.router(view.pods, view.status),
        slo_routes.router(view.slo, view.slo_history, view.slo_slots, view.alerts, view.activity),
    ]
    return asking.ask(rooms, path, method, headers)


def test_the_policy_tells_what_is_in_force_and_what_was_refused() -> None:
    assert ask("/admin/policy").json() == {
        "generation": 3,
        "digest": "d" * 64,
        "loaded_at": "1970-01-01T00:00:00.000+00:00",
        "from_last_good": False,
        "changes": ["route digits added"],
        "waiting": {
            "generation": 4,
            "changes": ["route digits: stable 1 -> 2"],
            "not_ready": ["digits/2"],
            "at_most_s": 42.0,
        },
        "refused_at": "1970-01-01T00:00:00.000+00:00",
        "errors": [{"file": "limits.yaml", "line": 4, "column": 9, "problem": "no unit", "fix": "Write 5/s."}],
        "waiting_for": ["mesh.yaml"],
    }


def test_pods_and_status_are_told() -> None:
    pods = ask("/admin/pods").json()
    assert (pods["generation"], pods["pods"][0]["name"], pods["pods"][0]["state"]) == (3, "digits/1/0", "starting")
    readiness = ask("/admin/status").json()["readiness"]
    assert readiness["is_ready"] is False
    assert readiness["stable_versions"] == [{"model": "digits", "version": "1", "is_ready": False, "was_ready": False}]


@pytest.mark.parametrize(
    ("state", "is_ready"),
    [
        (PodState.READY, True),
        (PodState.RESTARTING, True),
        (PodState.STARTING, False),
        (PodState.FAILED, False),
        (PodState.DRAINING, False),
    ],
)
def test_a_mesh_is_ready_while_a_stable_version_serves(state: PodState, is_ready: bool) -> None:
    table: PodTable = {(PLACE.name, PLACE.address): PodRecord(PLACE, state, was_ready=True)}
    assert readiness_report(SNAPSHOT, table, 1, 1, is_draining=False).is_ready is is_ready


def test_a_stable_version_was_ready_once_whatever_its_pods_are_now() -> None:
    report = readiness_report(SNAPSHOT, TABLE, 1, 1, is_draining=False, ready_once={("digits", "1")})
    assert report.stable_versions[0].was_ready


def test_every_answer_has_a_request_id_of_its_own() -> None:
    ids = {ask(path).headers["x-request-id"] for path in ("/admin/pods", "/admin/pods", "/nope", "/livez")}
    assert len(ids) == 4


def resolve(spec: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a schema's reference."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(spec["components"]["schemas"][name]) if name else schema


@pytest.mark.parametrize("path", [*REPORTS, "/livez"])
def test_the_openapi_names_exactly_what_is_answered(path: str) -> None:
    spec = ask("/openapi.json").json()
    content = spec["paths"][path.partition("?")[0]]["get"]["responses"]["200"]["content"]["application/json"]
    schema = resolve(spec, content["schema"])
    assert set(schema["properties"]) == set(ask(path).json())
    responses = spec["paths"][path.partition("?")[0]]["get"]["responses"]
    assert "401" in responses
    assert "422" not in responses


@pytest.mark.parametrize(
    ("path", "method", "headers", "status_code", "reason"),
    [
        ("/admin/pods", "GET", {"authorization": "Bearer no"}, 401, "key_unknown"),
        ("/openapi.json", "GET", {"authorization": "Bearer no"}, 401, "key_unknown"),
        ("/no/such/path", "GET", {"authorization": "Bearer no"}, 401, "key_unknown"),
        ("/no/such/path", "GET", {}, 404, "path_not_found"),
        ("/admin/pods", "DELETE", {}, 405, "method_not_allowed"),
        ("/admin/pods", "GET", {"host": "evil.example"}, 403, "host_not_allowed"),
        ("/admin/pods", "GET", {"host": "localhost/livez?x="}, 400, "malformed_http"),
        ("/admin/pods", "GET", {"origin": "https://evil.example"}, 403, "foreign_origin"),
        ("/docs", "GET", {}, 404, "path_not_found"),
        ("/admin/slo", "GET", {"authorization": "Bearer no"}, 401, "key_unknown"),
        ("/admin/slo/history", "GET", {}, 400, "bad_query"),
        ("/admin/activity?within_s=301", "GET", {}, 400, "bad_query"),
        (f"{HISTORY}&span_s=1e9", "GET", {}, 400, "bad_query"),
        (f"{HISTORY}&span_s=nan", "GET", {}, 400, "bad_query"),
        (f"{HISTORY}&version=9", "GET", {}, 404, "objective_not_found"),
        (HISTORY.replace("digits-", "no-"), "GET", {}, 404, "objective_not_found"),
        (SLOTS.replace("digits-", "no-"), "GET", {}, 404, "objective_not_found"),
        ("/admin/slo/slots?slo=digits-availability", "GET", {}, 400, "bad_query"),
    ],
)
def test_every_refusal_has_the_one_shape(
    path: str, method: str, headers: dict[str, str], status_code: int, reason: str
) -> None:
    answer = ask(path, method, headers)
    body = answer.json()
    assert (answer.status_code, body["code"], body["reason"]) == (status_code, status_code, reason)
    assert set(body) == {"error", "code", "type", "message", "reason", "retryable", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["penstock-reason"] == reason
    assert ("www-authenticate" in answer.headers) == (status_code == 401)


@pytest.mark.parametrize(("path", "points"), [("/models?url=a.mar", True), ("/models/a/2", True), ("/model", False)])
def test_whoever_asks_torchserves_management_api_is_told_where_models_are_said(path: str, points: bool) -> None:
    answer = ask(path, "POST")
    assert (answer.status_code, answer.json()["reason"]) == (404, "path_not_found")
    assert ("routes/MODEL.yaml" in answer.json()["message"]) == points


def test_a_failure_of_ours_is_a_refusal_too_and_tells_nothing_of_us() -> None:
    def broken() -> StatusReport:
        raise RuntimeError("/a/path/of/ours")

    answer = ask("/admin/status", view=replace(VIEW, status=broken))
    assert (answer.status_code, answer.json()["reason"]) == (500, "management_failed")
    assert "/a/path" not in answer.text


def test_an_endpoint_that_does_not_say_what_it_needs_keeps_the_api_from_being_made() -> None:
    room = APIRouter()

    @room.get("/admin/forgotten")
    async def forgotten() -> str:
        return "x"

    with pytest.raises(UnguardedRoute, match="/admin/forgotten needs one permission"):
        make_api([room])


def test_an_endpoint_that_names_two_permissions_keeps_the_api_from_being_made() -> None:
    room = APIRouter(dependencies=[needs("pod.read")])

    @room.get("/admin/both", dependencies=[needs("slo.read")])
    async def both() -> str:
        return "x"

    with pytest.raises(UnguardedRoute, match=r"pod\.read.*slo\.read"):
        make_api([room])


def test_a_body_that_takes_too_long_is_refused_and_a_caller_that_only_waits_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(management, "BODY_WITHIN_S", 0.05)

    async def story() -> list[str]:
        gone = asyncio.Event()
        messages = [{"type": "http.request", "body": b"{", "more_body": True}]

        async def never() -> Message:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        receive = management.bounded(never)
        assert (await receive())["body"] == b"{"
        with pytest.raises(HTTPException) as refused:
            await receive()
        messages.append({"type": "http.request", "body": b"{}", "more_body": False})
        receive = management.bounded(never)
        assert (await receive())["body"] == b"{}"
        asyncio.get_running_loop().call_later(0.1, gone.set)
        return [str(refused.value.status_code), (await receive())["type"]]

    assert asyncio.run(story()) == ["408", "http.disconnect"]


def test_a_hidden_endpoint_keeps_the_api_from_being_made() -> None:
    room = APIRouter()

    @room.get("/admin/hidden", dependencies=[needs("pod.read")], include_in_schema=False)
    async def hidden() -> str:
        return "x"

    with pytest.raises(UnguardedRoute, match="hidden from the OpenAPI"):
        make_api([room])


def test_what_nothing_could_guard_keeps_the_api_from_being_made() -> None:
    room = APIRouter()
    room.mount("/admin/mounted", FastAPI())
    with pytest.raises(UnguardedRoute, match="no endpoint"):
        make_api([room])


def test_a_permission_that_no_role_can_have_is_a_mistake() -> None:
    with pytest.raises(UnguardedRoute, match=r"pod\.raed"):
        needs("pod.raed")


class Wish(BaseModel):
    """A body."""

    amount: int


def wishes() -> APIRouter:
    """Return a room that takes a body."""
    room = APIRouter()

    @room.post("/admin/wishes", dependencies=[needs("quota.grant")])
    async def wish(wish: Wish) -> Wish:
        return wish

    return room


@pytest.mark.parametrize(
    ("content", "status_code", "reason"),
    [
        (b'{"amount": 1}', 200, ""),
        (b'{"amount": "much"}', 400, "malformed_body"),
        (b'{"amount": ', 400, "malformed_body"),
        (b" " * (MAX_BODY_BYTES + 1), 413, "body_too_large"),
    ],
)
def test_a_body_is_bounded_and_read_strictly(content: bytes, status_code: int, reason: str) -> None:
    headers = {"content-type": "application/json"}
    answer = asking.ask([wishes()], "/admin/wishes", "POST", headers, content=content)
    assert (answer.status_code, answer.headers.get("penstock-reason", "")) == (status_code, reason)
