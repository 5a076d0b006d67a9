"""``/admin/log-level`` over ASGI, with a true desk and audit log."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.control.admin import log_routes
from gateway.control.admin.log_routes import PATH
from gateway.control.audit.log import AuditLog
from gateway.control.log_desk import LogDesk
from tests.gateway.control.admin.asking import NO_ROLES, ask

WANTED = {"level": "debug", "of": "gateway", "for_s": 60, "reason": "looking"}


def desk_in(state: Path) -> LogDesk:
    said: list[str] = []
    return LogDesk(state, lambda: NO_ROLES, AuditLog(state, said.append), said.append)


def test_a_level_is_changed_shown_and_taken_back(tmp_path: Path) -> None:
    room = [log_routes.router(desk_in(tmp_path))]
    changed = ask(room, PATH, "POST", json=WANTED)
    assert changed.status_code == 200
    assert [(one["of"], one["level"]) for one in changed.json()["changed"]] == [("gateway", "debug")]
    assert ask(room, PATH).json() == changed.json()
    back = ask(room, PATH, "POST", json={"level": "usual", "reason": "seen"})
    assert back.json() == {"level": "info", "changed": []}


@pytest.mark.parametrize(
    "wrong",
    [
        {"level": "loud"},
        {"for_s": 0},
        {"for_s": 86401},
        {"reason": ""},
        {"of": "x" * 129},
    ],
)
def test_a_mistake_is_400_and_changes_nothing(wrong: dict[str, object], tmp_path: Path) -> None:
    room = [log_routes.router(desk_in(tmp_path))]
    assert ask(room, PATH, "POST", json=WANTED | wrong).status_code == 400
    assert ask(room, PATH).json()["changed"] == []


def test_whom_nobody_knows_is_404(tmp_path: Path) -> None:
    room = [log_routes.router(desk_in(tmp_path))]
    assert ask(room, PATH, "POST", json=WANTED | {"of": "unknown"}).status_code == 404
