"""``/admin/quotas`` and ``/admin/grants`` over ASGI, with a true keeper, ledger and audit log."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from gateway.control import quota_desk
from gateway.control.admin import quota_routes
from gateway.control.audit.files import FOLDER
from gateway.control.audit.log import AuditLog
from gateway.control.audit.record import CHECKPOINT
from gateway.control.ledger.sqlite_ledger import FILE_NAME
from gateway.control.quota_desk import QuotaDesk
from gateway.control.quota_keeper import QuotaKeeper
from gateway.limits.table import LimitTable, head_of, table_bytes
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh, Role
from policies.snapshot.tenant import Key, Quota, Tenant
from tests.gateway.control.admin.asking import ask

NOW = 1_782_907_200.0
TOMORROW = "2026-07-02T12:00:00Z"
GPU = Quota("gpu", "device_time", 3_600_000_000, "calendar-day")
REQUESTS = Quota("requests", "requests", 1000, "rolling-24h")
READER = "reader-key"


def snapshot() -> Snapshot:
    digest = "b1b0d9b0d8a9ee8aa3b76e2e3bd4ac18" * 2
    keys = (Key("reader", digest, ("infer",)),)
    tenants = {
        "ads": Tenant("ads", "team", "gold", keys, (), quotas=(GPU, REQUESTS)),
        "labs": Tenant("labs", "team", "gold", (), (), quotas=(REQUESTS,)),
    }
    return Snapshot(1, "d" * 64, Mesh("m", roles=(Role("r", ("key:reader",), ("quota.read",)),)), tenants=tenants)


class Room:
    """The room and everything behind it."""

    def __init__(self, state: Path) -> None:
        descriptor = os.open(state / "table", os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(descriptor, table_bytes(2))
        os.pwrite(descriptor, head_of(bytes(16), 2, is_cautious=False, born_s=1.0), 0)
        self.said: list[str] = []
        self.audit = AuditLog(state, self.said.append)
        self.keeper = QuotaKeeper(state, LimitTable(descriptor), self.said.append, wall_s=lambda: NOW)
        self.desk = QuotaDesk(self.keeper, snapshot, self.audit, self.said.append, lambda: NOW)
        asyncio.run(self.keeper.expect(snapshot()))

    def ask(self, path: str, method: str = "GET", json: object = None) -> httpx.Response:
        return ask([quota_routes.router(self.desk)], path, method, json=json)

    def grant(self, amount: str = "20h", until: str = TOMORROW, quota: str = "gpu") -> httpx.Response:
        asked = {"amount": amount, "until": until, "reason": "launch week"}
        return self.ask(f"/admin/quotas/ads/{quota}/grants", "POST", asked)

    def limits(self) -> dict[str, int]:
        return {one["name"]: one["limit"] for one in self.ask("/admin/quotas?tenant=ads").json()["quotas"]}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    found = Room(tmp_path)
    yield found
    asyncio.run(found.keeper.stop())


def test_quotas_are_listed_for_all_tenants_or_one(room: Room) -> None:
    names = [(one["tenant"], one["name"]) for one in room.ask("/admin/quotas").json()["quotas"]]
    assert names == [("ads", "gpu"), ("ads", "requests"), ("labs", "requests")]
    assert len(room.ask("/admin/quotas?tenant=labs").json()["quotas"]) == 1


def test_a_grant_counts_is_listed_and_is_in_the_audit_log(room: Room) -> None:
    done = room.grant().json()
    assert (done["amount"], done["amount_text"], done["owner"]) == (72_000_000_000, "20h", "local")
    assert room.limits() == {"gpu": 75_600_000_000, "requests": 1000}
    listed = room.ask("/admin/grants?tenant=ads").json()["grants"]
    assert [(one["id"], one["is_live"]) for one in listed] == [(done["id"], True)]
    assert room.ask("/admin/grants?tenant=labs").json()["grants"] == []
    record = next(one.record for one in room.audit.newest(10)[0] if one.record.action == "quota.grant")
    assert (record.actor, record.subject, record.reason) == ("local", "tenant/ads/quota/gpu", "launch week")
    assert record.detail == {"id": done["id"], "amount": 72_000_000_000, "meter": "device_time", "until": TOMORROW}


def test_a_grant_that_is_taken_back_counts_no_more(room: Room) -> None:
    id_ = room.grant().json()["id"]
    path = f"/admin/quotas/ads/gpu/grants/{id_}"
    assert room.ask(f"{path}?reason=a+mistake", "DELETE").status_code == 200
    assert room.limits()["gpu"] == 3_600_000_000
    assert [one["ended_by"] for one in room.ask("/admin/grants").json()["grants"]] == ["local"]
    assert room.ask(f"{path}?reason=again", "DELETE").headers["penstock-reason"] == "grant_not_found"
    assert "quota.revoke_grant" in [one.record.action for one in room.audit.newest(10)[0]]


@pytest.mark.parametrize(
    ("amount", "until", "fragment"),
    [
        ("20", TOMORROW, "20 what? Write 20"),
        ("0s", TOMORROW, "nothing"),
        ("20h", "tomorrow", "day and time"),
        ("20h", "2026-07-01T11:00:00Z", "coming year"),
        ("20h", "2028-07-01T11:00:00Z", "coming year"),
    ],
)
def test_a_grant_that_makes_no_sense_is_refused_with_the_fix(
    room: Room, amount: str, until: str, fragment: str
) -> None:
    answer = room.grant(amount, until)
    assert (answer.status_code, answer.headers["penstock-reason"]) == (400, "bad_query")
    assert fragment in answer.json()["message"]
    assert room.ask("/admin/grants").json()["grants"] == []


def test_a_quota_that_nobody_has_gets_no_grant(room: Room) -> None:
    assert room.grant(quota="none").headers["penstock-reason"] == "quota_not_found"


def test_what_has_no_room_is_refused_before_the_audit_log_says_that_it_was_granted(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert room.grant().status_code == 200
    monkeypatch.setattr(quota_desk, "MAX_GRANTS", 1)
    assert room.grant().headers["penstock-reason"] == "too_many_grants"
    assert [one.record.action for one in room.audit.newest(10)[0]] == ["quota.grant"]


def test_a_change_that_fails_after_it_was_recorded_is_recorded_as_failed(room: Room, tmp_path: Path) -> None:
    id_ = room.grant().json()["id"]
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # whoever writes keeps all others from writing, not from reading
        granted = room.grant()
        ended = room.ask(f"/admin/quotas/ads/gpu/grants/{id_}?reason=a+mistake", "DELETE")
    assert [one.headers["penstock-reason"] for one in (granted, ended)] == ["ledger_unavailable"] * 2
    changes = [one.record for one in room.audit.newest(10)[0] if one.record.action != CHECKPOINT]
    failed, asked, failed_grant, asked_grant, _ = changes
    assert (asked_grant.action, failed_grant.action) == ("quota.grant", "quota.grant_failed")
    assert (asked.action, failed.action) == ("quota.revoke_grant", "quota.revoke_grant_failed")
    assert failed_grant.detail["id"] == asked_grant.detail["id"] != id_
    assert (failed.actor, failed.subject, failed.reason, failed.detail["id"]) == (
        *("local", "tenant/ads/quota/gpu", "a mistake", id_),
    )
    assert [one["id"] for one in room.ask("/admin/grants").json()["grants"]] == [id_]


def test_nothing_is_granted_that_cannot_be_audited(room: Room, tmp_path: Path) -> None:
    room.audit.close()
    folder = tmp_path / FOLDER
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    folder.write_text("in the way")
    assert room.grant().status_code == 503
    assert room.limits()["gpu"] == 3_600_000_000
