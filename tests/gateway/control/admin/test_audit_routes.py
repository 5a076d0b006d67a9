"""The audit log over ASGI: newest first, page by page, for whoever may read it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.routing import Route

from gateway.control.admin import audit_routes
from gateway.control.audit.files import CURRENT_NAME, FOLDER
from gateway.control.audit.log import AuditLog
from tests.gateway.control.admin.asking import ask


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    log = AuditLog(tmp_path, lambda _: None)
    log.generation = 7
    for number in range(5):
        log.record("key:ops-1", "key.revoke", f"key-{number}", {"tenant": "ads"}, "leaked")
    log.close()
    return log


def numbers(answer: httpx.Response) -> list[int]:
    return [record["n"] for record in answer.json()["records"]]


def test_records_come_newest_first_and_page_by_page(audit: AuditLog) -> None:
    rooms = [audit_routes.router(audit)]
    assert numbers(ask(rooms, "/admin/audit")) == [6, 5, 4, 3, 2, 1]
    assert numbers(ask(rooms, "/admin/audit?limit=2")) == [6, 5]
    assert numbers(ask(rooms, "/admin/audit?limit=2&before=5")) == [4, 3]
    assert numbers(ask(rooms, "/admin/audit?before=1")) == []


def test_a_record_says_who_did_what_to_what_under_which_policy(audit: AuditLog) -> None:
    (record,) = ask([audit_routes.router(audit)], "/admin/audit?limit=1&before=6").json()["records"]
    assert (record["actor"], record["action"], record["subject"], record["reason"]) == (
        "key:ops-1",
        "key.revoke",
        "key-4",
        "leaked",
    )
    assert (record["from_generation"], record["to_generation"], record["detail"]) == (7, 7, {"tenant": "ads"})


def test_lines_that_cannot_be_read_are_counted_not_hidden(audit: AuditLog, tmp_path: Path) -> None:
    path = tmp_path / FOLDER / CURRENT_NAME
    path.write_bytes(path.read_bytes().replace(b"key-2", b"key-9"))
    answer = ask([audit_routes.router(audit)], "/admin/audit")
    assert (numbers(answer), answer.json()["unreadable"]) == ([6, 5, 4, 2, 1], 1)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "before=0", "limit=many"])
def test_a_page_that_there_is_not_is_refused(audit: AuditLog, query: str) -> None:
    answer = ask([audit_routes.router(audit)], f"/admin/audit?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "bad_query")


def test_the_room_only_reads(audit: AuditLog) -> None:
    (route,) = audit_routes.router(audit).routes
    assert isinstance(route, Route)
    assert route.methods == {"GET"}
