"""``/admin/rollouts`` over ASGI, with a true keeper, store and audit log."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from gateway.control.admin import rollout_routes
from gateway.control.audit.files import FOLDER
from gateway.control.management import make_api
from gateway.control.rollout_reports import RolloutReport, RolloutsReport
from gateway.control.rollouts import store
from gateway.control.rollouts.desk import RolloutDesk
from gateway.control.rollouts.store import FILE_NAME
from policies.snapshot.mesh import Mesh, Role
from policies.snapshot.tenant import Key, Tenant
from tests.gateway.control.admin.asking import ask
from tests.gateway.control.rollouts.bench import Bench, snapshot

WHY = {"reason": "as agreed"}
READER = "pk_reader_secret"


class Room:
    """The room and everything behind it."""

    def __init__(self, state: Path) -> None:
        self.bench = Bench(state)
        self.desk = RolloutDesk(self.bench.keeper, self.bench.audit, lambda: self.bench.now_s)
        asyncio.run(self._begin())

    async def _begin(self) -> None:
        await self.bench.keeper.begin(snapshot())
        await self.bench.look()

    def ask(self, path: str = "", method: str = "GET", **more: object) -> httpx.Response:
        return ask([rollout_routes.router(self.desk)], f"/admin/rollouts{path}", method, **more)  # type: ignore[arg-type]

    def order(self, what: str) -> httpx.Response:
        return self.ask(f"/digits/{what}", "POST", json=WHY)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    found = Room(tmp_path)
    yield found
    asyncio.run(found.bench.stop())


def test_rollouts_are_listed_and_one_is_told_whole(room: Room) -> None:
    every = msgspec.json.decode(room.ask().content, type=RolloutsReport)
    (listed,) = every.rollouts
    one = msgspec.json.decode(room.ask("/digits").content, type=RolloutReport)
    assert (one.state.value, one.share, one.step, one.owner) == ("running", 0.05, 0, "vision")
    assert [step.state for step in one.steps] == ["now", "later", "later"]
    assert one.waiting_for == ("hold", "traffic")
    assert one.next_s is None
    assert [change.revision for change in one.transitions] == [2, 1]
    assert listed == replace(
        one, verdict=replace(one.verdict, history=()) if one.verdict else None, transitions=one.transitions[:1]
    )
    assert room.ask("/nothing").json()["reason"] == "rollout_not_found"


def test_orders_are_done_and_are_in_the_audit_log_before(room: Room) -> None:
    paused = msgspec.json.decode(room.order("pause").content, type=RolloutReport)
    assert (paused.state.value, paused.because, paused.transitions[0].by) == ("paused", "as agreed", "local")
    assert room.order("pause").json()["reason"] == "rollout_refused"
    assert room.order("promote").status_code == 409
    assert room.order("resume").json()["state"] == "running"
    assert room.order("promote").json()["step"] == 1
    assert room.order("promote?to=end").json()["state"] == "promoted"
    back = room.order("rollback").json()
    assert (back["state"], back["share"], back["revision"]) == ("rolled back", 0.0, room.bench.kept_revision())
    assert [step["state"] for step in back["steps"]] == ["skipped", "skipped", "ended"]
    done = [(one.action, one.actor, one.reason) for one in room.bench.records() if one.actor == "local"]
    assert done == [
        (f"canary.{action}", "local", "as agreed") for action in ("pause", "resume", "promote", "promote", "rollback")
    ]


def test_a_step_that_two_promote_at_once_is_promoted_once(room: Room) -> None:
    assert room.order("promote?from_step=0").json()["step"] == 1
    late = room.order("promote?from_step=0")
    assert (late.status_code, late.json()["reason"]) == (409, "rollout_refused")
    assert "It is not at that step any more" in late.json()["message"]
    assert room.bench.progress.step == 1
    assert room.order("promote?from_step=-1").json()["reason"] == "bad_query"


def test_without_the_audit_log_nothing_is_done(room: Room) -> None:
    folder = room.bench.state / FOLDER
    room.bench.audit.close()
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("no folder")
    assert room.order("promote").json()["reason"] == "audit_unavailable"
    assert room.bench.progress.step == 0


def test_what_cannot_be_kept_is_not_done_and_the_audit_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BUSY_WITHIN_S", 0.01)
    room = Room(tmp_path)
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        assert room.order("promote").json()["reason"] == "rollouts_not_kept"
    assert room.bench.progress.step == 0
    assert room.bench.records()[-1].action == "canary.promote_failed"
    asyncio.run(room.bench.stop())


def test_a_reason_is_asked_for_and_only_known_ends(room: Room) -> None:
    assert room.ask("/digits/pause", "POST", json={"reason": ""}).json()["reason"] == "malformed_body"
    assert room.ask("/digits/promote?to=nowhere", "POST", json=WHY).json()["reason"] == "bad_query"


def test_a_role_of_another_model_sees_and_does_nothing(room: Room) -> None:
    key = Key("reader", hashlib.sha256(READER.encode()).hexdigest(), ("infer",))
    roles = (Role("r", ("key:reader",), ("rollout.read", "canary.*"), ("another",)),)
    policy = replace(
        snapshot(), mesh=Mesh("m", roles=roles), tenants={"ads": Tenant("ads", "team", "gold", (key,), ())}
    )
    headers = {"authorization": f"Bearer {READER}"}
    assert room.ask(headers=headers, snapshot=policy).json()["rollouts"] == []
    assert room.ask("/digits", headers=headers, snapshot=policy).json()["reason"] == "permission_missing"
    refused = room.ask("/digits/rollback", "POST", headers=headers, snapshot=policy, json=WHY)
    assert refused.json()["reason"] == "permission_missing"


def test_the_openapi_says_what_a_rollout_is(room: Room) -> None:
    paths = make_api([rollout_routes.router(room.desk)]).openapi()["paths"]
    answer = paths["/admin/rollouts/{model}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    verdict, _ = answer["properties"]["verdict"]["anyOf"]
    assert verdict["properties"]["candidate"]["properties"]["bad_keys"]["type"] == "integer"
