"""``/admin/workers/restart`` over ASGI, with a true audit log and workers that are never started."""

from __future__ import annotations

from pathlib import Path

from gateway.control.admin import worker_routes
from gateway.control.audit.log import AuditLog
from gateway.control.generation_switch import GenerationSwitch
from gateway.control.rolling_restart import RollingRestart
from gateway.control.worker_desk import WorkerDesk
from gateway.control.worker_process import WorkerSpec
from gateway.control.workers import GenerationBlob, Workers
from tests.gateway.control.admin.asking import ask

PATH = "/admin/workers/restart"
WHY = {"reason": "a new build"}


class Room:
    """The room and everything behind it."""

    def __init__(self, state: Path) -> None:
        self.said: list[str] = []
        self.audit = AuditLog(state, self.said.append)
        workers = Workers(WorkerSpec((), 0, 1), GenerationBlob(1, b""), self.said.append)
        self.rolling = RollingRestart(workers, GenerationSwitch(workers), self.said.append)
        self.desk = WorkerDesk(self.rolling, self.audit, self.said.append)

    def audited(self) -> list[tuple[str, str, str]]:
        records, _ = self.audit.newest(10)
        return [(one.record.actor, one.record.action, one.record.reason) for one in records]


def test_a_restart_is_recorded_and_begun_and_tells_how_many_workers_are_left(tmp_path: Path) -> None:
    room = Room(tmp_path)
    answer = ask([worker_routes.router(room.desk)], PATH, "POST", json=WHY)
    assert (answer.status_code, answer.json()) == (200, {"workers_to_replace": 0})
    assert ("local", "worker.restart", "a new build") in room.audited()
    assert any("every worker is to be replaced, says local: a new build" in line for line in room.said)


def test_a_restart_needs_a_reason(tmp_path: Path) -> None:
    room = Room(tmp_path)
    assert ask([worker_routes.router(room.desk)], PATH, "POST", json={}).status_code == 400
    assert room.audited() == []


def test_a_restart_that_cannot_be_recorded_does_not_begin(tmp_path: Path) -> None:
    room = Room(tmp_path)
    (tmp_path / "audit").write_bytes(b"no folder")
    answer = ask([worker_routes.router(room.desk)], PATH, "POST", json=WHY)
    assert answer.status_code == 503
    assert answer.json()["reason"] == "audit_unavailable"
    assert not any("to be replaced" in line for line in room.said)
