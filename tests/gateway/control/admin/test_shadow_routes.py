"""``/admin/shadows`` over ASGI, with a true audit log and a copies process that is made up."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway.control.admin import shadow_routes
from gateway.control.audit.log import AuditLog
from gateway.control.copies_desk import CopiesDesk
from gateway.control.management import make_api
from gateway.control.shadow_desk import Forgotten, ShadowDesk, ShadowsReport
from gateway.copies.messages import AskReplay, Forget, Replayed, Shadows, ToCopies
from gateway.copies.reports import ReplayReport
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh, Role
from policies.snapshot.release import Recording, Shadow
from policies.snapshot.tenant import Key
from tests.gateway.control.admin.asking import ask
from tests.gateway.copies.answered import snapshot
from tests.gateway.copies.shadow_reports import DIFFERS, DONE

SHADOW = Shadow("dark", "2", 1.0)
SNAPSHOT = snapshot(Recording(1.0), shadows=(SHADOW,))
PATH = "/admin/shadows/digits"


class Room:
    """The room and everything behind it."""

    def __init__(self, state: Path, answer: Callable[[ToCopies], Sequence[ReplayReport]] = lambda _: ()) -> None:
        self.said: list[str] = []
        self.sent: list[ToCopies] = []
        self._answer = answer
        self.audit = AuditLog(state, self.said.append)
        self.copies = CopiesDesk()
        self.copies.attach(self._send)
        self.router = shadow_routes.router(ShadowDesk(self.copies, lambda: SNAPSHOT, self.audit, self.said.append))

    def _send(self, message: ToCopies, blobs: Sequence[bytes] = ()) -> None:
        self.sent.append(message)
        for report in self._answer(message):
            asyncio.get_running_loop().call_soon(self.copies.heard, Replayed(report))

    def ask(self, path: str, method: str = "GET", status: int = 200, **more: Any) -> bytes:
        answer = ask([self.router], path, method, **more)
        assert answer.status_code == status, answer.text
        return answer.content

    def reason(self, path: str, method: str, status: int, **more: Any) -> str:
        return str(msgspec.json.decode(self.ask(path, method, status, **more))["reason"])

    def audited(self) -> list[tuple[str, str, dict[str, Any]]]:
        records, _ = self.audit.newest(10)
        return [(one.record.action, one.record.subject, one.record.detail) for one in records]


def test_what_every_shadow_has_come_to_is_shown(tmp_path: Path) -> None:
    room = Room(tmp_path)
    report = msgspec.json.decode(room.ask("/admin/shadows"), type=ShadowsReport)
    assert report == ShadowsReport(0.0, ())
    other = replace(DIFFERS, model="letters")
    room.copies.heard(Shadows((DIFFERS, other)))
    report = msgspec.json.decode(room.ask("/admin/shadows"), type=ShadowsReport)
    assert report == ShadowsReport(DIFFERS.at_s, (DIFFERS, other))
    report = msgspec.json.decode(room.ask("/admin/shadows?model=letters"), type=ShadowsReport)
    assert report.shadows == (other,)


def test_a_replay_is_audited_begun_and_looked_at(tmp_path: Path) -> None:
    room = Room(tmp_path, lambda _: [replace(DONE, number=1, version="2")])
    begun = room.ask(f"{PATH}/replays", "POST", json={"version": "2", "most": 50})
    report = msgspec.json.decode(begun, type=ReplayReport)
    assert (report.number, report.state) == (1, "done")
    assert room.sent == [AskReplay(1, "digits", "2", "", 50)]
    assert room.audited() == [("shadow.replay", "digits", {"version": "2", "shadow": "", "most": 50})]
    assert msgspec.json.decode(room.ask(f"{PATH}/replays/1"), type=ReplayReport) == report
    assert room.reason(f"{PATH}/replays/2", "GET", 404) == "replay_not_found"
    assert room.reason("/admin/shadows/letters/replays/1", "GET", 404) == "replay_not_found"


def test_a_replay_is_ended(tmp_path: Path) -> None:
    def answer(told: ToCopies) -> list[ReplayReport]:
        assert isinstance(told, AskReplay)
        return [replace(DONE, number=told.number, version="2", state="cancelled" if told.is_cancel else "running")]

    room = Room(tmp_path, answer)
    room.ask(f"{PATH}/replays", "POST", json={"version": "2"})
    ended = msgspec.json.decode(room.ask(f"{PATH}/replays/1", "DELETE"), type=ReplayReport)
    assert ended.state == "cancelled"
    assert room.sent[-1] == AskReplay(1, "digits", "2", is_cancel=True)
    room.ask(f"{PATH}/replays/1", "DELETE")  # over already: nothing is done
    assert len(room.sent) == 2
    assert [action for action, _, _ in room.audited()] == ["shadow.cancel_replay", "shadow.replay"]


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        (f"{PATH}/replays", {"version": "9"}, 404, "version_not_found"),
        (f"{PATH}/replays", {"version": "2", "shadow": "light"}, 404, "shadow_not_found"),
        ("/admin/shadows/letters/replays", {"version": "2"}, 404, "model_not_found"),
        (f"{PATH}/replays", {}, 400, "malformed_body"),
        (f"{PATH}/replays", {"version": "2", "most": 0}, 400, "malformed_body"),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(
    tmp_path: Path, path: str, body: dict[str, Any], status: int, reason: str
) -> None:
    room = Room(tmp_path)
    assert room.reason(path, "POST", status, json=body) == reason
    assert (room.sent, room.audited()) == ([], [])


def test_a_shadow_begins_anew_and_recordings_go(tmp_path: Path) -> None:
    room = Room(tmp_path)
    forgotten = msgspec.json.decode(room.ask(f"{PATH}/dark", "DELETE"), type=Forgotten)
    assert forgotten == Forgotten("digits", "dark")
    room.ask(f"{PATH}/recordings", "DELETE")
    assert room.sent == [Forget("digits", "dark"), Forget("digits", "")]
    assert [subject for _, subject, _ in room.audited()] == ["digits/recordings", "digits/dark"]
    assert room.reason(f"{PATH}/light", "DELETE", 404) == "shadow_not_found"
    assert room.reason("/admin/shadows/letters/recordings", "DELETE", 404) == "model_not_found"


@pytest.mark.parametrize(
    ("path", "method", "body"),
    [
        (f"{PATH}/replays", "POST", {"version": "2"}),
        (f"{PATH}/dark", "DELETE", None),
        (f"{PATH}/recordings", "DELETE", None),
    ],
)
def test_without_the_copies_process_nothing_is_done_and_nothing_recorded(
    tmp_path: Path, path: str, method: str, body: object
) -> None:
    room = Room(tmp_path)
    room.copies.detach()
    assert room.reason(path, method, 503, json=body) == "copies_unavailable"
    assert room.audited() == []


KEY = "msk_of_ops"


def with_role(may: str, on: tuple[str, ...]) -> Snapshot:
    key = Key("ops", hashlib.sha256(KEY.encode()).hexdigest(), ())
    tenants = {**SNAPSHOT.tenants, "ads": replace(SNAPSHOT.tenants["ads"], keys=(key,))}
    role = Role("ops", ("key:ops",), (may,), on)
    return replace(SNAPSHOT, mesh=Mesh("demo", roles=(role,)), tenants=tenants)


def test_a_role_for_some_models_sees_and_changes_those_alone(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.copies.heard(Shadows((DIFFERS, replace(DIFFERS, model="letters"))))
    shown: dict[str, Any] = {"headers": {"authorization": f"Bearer {KEY}"}}
    read = {**shown, "snapshot": with_role("shadow.read", ("letters",))}
    report = msgspec.json.decode(room.ask("/admin/shadows", **read), type=ShadowsReport)
    assert [one.model for one in report.shadows] == ["letters"]
    assert room.reason(f"{PATH}/replays/1", "GET", 403, **read) == "permission_missing"
    forget = {**shown, "snapshot": with_role("shadow.forget", ("letters",))}
    assert room.reason(f"{PATH}/dark", "DELETE", 403, **forget) == "permission_missing"
    assert room.reason(f"{PATH}/recordings", "DELETE", 403, **forget) == "permission_missing"
    replay = {**shown, "snapshot": with_role("shadow.replay", ("letters",))}
    assert room.reason(f"{PATH}/replays", "POST", 403, json={"version": "2"}, **replay) == "permission_missing"
    assert room.reason(f"{PATH}/replays/1", "DELETE", 403, **replay) == "permission_missing"
    assert room.sent == []


def test_the_openapi_says_what_is_answered(tmp_path: Path) -> None:
    spec = make_api([Room(tmp_path).router]).openapi()
    schema = spec["paths"]["/admin/shadows"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"at_s", "shadows"}
    assert set(schema["properties"]["shadows"]["items"]["properties"]) == set(DIFFERS.__struct_fields__)
    assert "$ref" not in str(schema)
    assert "422" not in spec["paths"]["/admin/shadows"]["get"]["responses"]
