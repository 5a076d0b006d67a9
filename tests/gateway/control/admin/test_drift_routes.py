"""Drift over ASGI: of one model or of all, and only to who may see it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.control.admin import drift_routes
from gateway.control.callers import AdminCaller, Gate
from gateway.control.drift_desk import DriftDesk
from gateway.control.management import make_app
from gateway.decide.authorization import LOCAL, Actor
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh, Role
from policies.snapshot.route import Route, Version
from policies.snapshot.watching import Drift, Watched
from telemetry.drift.fields import INPUT, Field
from telemetry.drift.files import DIRECTORY, write_windows
from telemetry.drift.reports import DriftReport
from telemetry.drift.windows import place_of

DRIFT = Drift(1.0, inputs=(Watched("/age"),), outputs=())
OF_TEXT = Actor("key:k1", (Role("owner", subjects=("key:k1",), may=("drift.read",), models=("text",)),))
ON_CALL = Actor("key:k2", (Role("on-call", subjects=("key:k2",), may=("slo.read",)),))


LABELS = {"digits": {"right": 3}, "text": {"wrong": 1}, "gone": {"right": 9}, "": {"unknown_request": 2}}


def route(model: str, drift: Drift | None) -> Route:
    return Route(model, "us", {"1": Version("1"), "2": Version("2")}, "1", drift=drift)


SNAPSHOT = Snapshot(
    1,
    "",
    Mesh("m"),
    routes={"digits": route("digits", DRIFT), "text": route("text", DRIFT), "plain": route("plain", None)},
)


def ask(state: Path, query: str = "", actor: Actor = LOCAL) -> httpx.Response:
    """Ask as somebody who has signed in."""

    def sign_in(_: AdminCaller) -> Actor:
        return actor

    async def exchange() -> httpx.Response:
        desk = DriftDesk(state, lambda: SNAPSHOT, lambda _: None, lambda: 1.8e9, lambda: LABELS)
        app = make_app([drift_routes.router(desk)], lambda: Gate(("127.0.0.1",)), sign_in)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8081") as client:
            return await client.get(f"/admin/drift{query}")

    return asyncio.run(exchange())


def told(answer: httpx.Response) -> list[tuple[str, str, int]]:
    report = msgspec.json.decode(answer.content, type=DriftReport)
    return [(one.model, one.version, one.reference_rows) for one in report.versions]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    places = {place_of(INPUT, "/age"): Field(40, kinds={"number": 40})}
    write_windows(tmp_path / DIRECTORY / "digits" / "1" / "0.windows", {0: places}, DRIFT.window_s)
    return tmp_path


def test_every_version_of_what_is_watched_is_told(state: Path) -> None:
    assert told(ask(state)) == [("digits", "1", 40), ("digits", "2", 0), ("text", "1", 0), ("text", "2", 0)]
    assert told(ask(state, "?model=digits")) == [("digits", "1", 40), ("digits", "2", 0)]
    assert told(ask(state, "?model=plain")) == []


def test_a_role_for_some_models_sees_these_and_no_more(state: Path) -> None:
    assert told(ask(state, actor=OF_TEXT)) == [("text", "1", 0), ("text", "2", 0)]


def test_without_the_permission_nothing_is_told(state: Path) -> None:
    answer = ask(state, actor=ON_CALL)
    assert (answer.status_code, answer.json()["reason"]) == (403, "permission_missing")


def test_in_brief_nothing_is_drawn_and_labels_are_told_by_model(state: Path) -> None:
    brief = msgspec.json.decode(ask(state, "?brief=true").content, type=DriftReport)
    assert told(ask(state, "?brief=true")) == told(ask(state))
    assert not any(
        one.bins or one.history for version in brief.versions for part in version.parts for one in part.measures
    )
    assert brief.labels == {"digits": {"right": 3}, "text": {"wrong": 1}}
    assert msgspec.json.decode(ask(state, actor=OF_TEXT).content, type=DriftReport).labels == {"text": {"wrong": 1}}
    assert msgspec.json.decode(ask(state, "?model=digits").content, type=DriftReport).labels == {"digits": {"right": 3}}
