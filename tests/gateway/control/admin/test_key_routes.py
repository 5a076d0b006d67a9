"""``/admin/keys`` over ASGI, with a true book and a true audit log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from gateway.control import key_book
from gateway.control.admin import key_routes
from gateway.control.audit.files import FOLDER
from gateway.control.audit.log import AuditLog
from gateway.control.key_book import REVOKED_FILE, KeyBook
from gateway.control.key_desk import KeyDesk
from gateway.control.messages import Revoked
from gateway.tls import MAX_IDENTITY_CHARS
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh, Role
from tests.fakes.issuer import trusted_issuer
from tests.gateway.control.admin.asking import ask
from tests.gateway.policy import KEY, PLAIN_KEY, policy

ID = f"id-{KEY}"
REASON = {"reason": "it was in a chat"}


@dataclass
class Room:
    """The room and everything behind it."""

    state_dir: Path
    published: list[Revoked] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    snapshot: Snapshot = field(default_factory=policy)

    def __post_init__(self) -> None:
        self.audit = AuditLog(self.state_dir, self.said.append)
        self.book = KeyBook(self.state_dir, self.published.append, self.said.append)
        self.desk = KeyDesk(self.book, lambda: self.snapshot, self.audit, self.said.append)

    def ask(self, path: str, json: object = None, key: str = "") -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"} if key else None
        method = "GET" if json is None else "POST"
        return ask([key_routes.router(self.desk)], path, method, headers, snapshot=self.snapshot, json=json)

    def audited(self) -> list[tuple[str, str, str, str]]:
        records, _ = self.audit.newest(10)
        kept = [one.record for one in records]
        return [(one.actor, one.action, one.subject, one.reason) for one in kept if one.action.startswith("key.")]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_every_key_is_listed_with_its_state(room: Room) -> None:
    keys = room.ask("/admin/keys").json()["keys"]
    assert {one["id"]: one["state"] for one in keys} == {
        ID: "active",
        f"id-{PLAIN_KEY}": "active",
        "id-msk_expired": "expired",
    }
    assert keys[0]["last_used_at"] is None
    assert "sha256" not in keys[0]


def test_a_key_is_revoked_for_every_worker_and_audited(room: Room) -> None:
    answer = room.ask(f"/admin/keys/{ID}/revoke", REASON)
    assert (answer.status_code, answer.json()) == (200, {"id": ID, "is_revoked": True, "changed": True})
    assert room.published[-1] == Revoked((ID,))
    assert room.audited() == [("local", "key.revoke", ID, "it was in a chat")]
    assert room.said[-1] == f"the key {ID} is revoked, by local: it was in a chat"
    states = {one["id"]: one["revocation"] for one in room.ask("/admin/keys").json()["keys"]}
    assert states[ID]["reason"] == "it was in a chat"


def test_a_key_is_restored_and_audited(room: Room) -> None:
    room.ask(f"/admin/keys/{ID}/revoke", REASON)
    answer = room.ask(f"/admin/keys/{ID}/restore", {"reason": "false alarm"})
    assert answer.json() == {"id": ID, "is_revoked": False, "changed": True}
    assert room.published[-1] == Revoked(())
    assert room.audited()[0] == ("local", "key.restore", ID, "false alarm")


def test_what_is_so_already_is_neither_done_nor_audited_again(room: Room) -> None:
    room.ask(f"/admin/keys/{ID}/revoke", REASON)
    assert room.ask(f"/admin/keys/{ID}/revoke", REASON).json()["changed"] is False
    assert room.ask(f"/admin/keys/id-{PLAIN_KEY}/restore", REASON).json()["changed"] is False
    assert len(room.audited()) == 1


@pytest.mark.parametrize("action", ["revoke", "restore"])
def test_a_typo_in_the_id_is_not_taken_for_done(room: Room, action: str) -> None:
    answer = room.ask(f"/admin/keys/id-of-nobody/{action}", REASON)
    assert (answer.status_code, answer.json()["reason"]) == (404, "key_not_found")
    assert room.audited() == []


def test_ids_with_slashes_are_taken_whole(room: Room) -> None:
    certificate = "spiffe://corp/ns/prod/ads"
    ads = replace(room.snapshot.tenants["ads"], certificates=(certificate,))
    room.snapshot = replace(room.snapshot, tenants={"ads": ads})
    assert room.ask(f"/admin/keys/san:{certificate}/revoke", REASON).json()["id"] == f"san:{certificate}"
    assert room.book.revoked == {f"san:{certificate}"}


@pytest.mark.parametrize("id_", ["jwt:corp:", "san:spiffe://corp/administrator", f"san:{'x' * MAX_IDENTITY_CHARS}"])
def test_whatever_is_accepted_can_be_revoked_and_restored(room: Room, id_: str) -> None:
    room.snapshot = replace(room.snapshot, mesh=Mesh("test", jwt=(trusted_issuer(),)))
    assert room.ask(f"/admin/keys/{id_}/revoke", REASON).json()["changed"] is True
    assert room.book.revoked == {id_}
    assert room.ask(f"/admin/keys/{id_}/restore", REASON).json()["changed"] is True


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 501}, {"reason": 7}, [], "text"])
def test_a_change_needs_a_reason(room: Room, body: object) -> None:
    answer = room.ask(f"/admin/keys/{ID}/revoke", body)
    assert (answer.status_code, answer.json()["reason"]) == (400, "malformed_body")
    assert room.book.revoked == frozenset()


def test_what_cannot_be_audited_is_not_done(room: Room) -> None:
    (room.state_dir / FOLDER).write_bytes(b"in the way")
    answer = room.ask(f"/admin/keys/{ID}/revoke", REASON)
    assert (answer.status_code, answer.json()["reason"]) == (503, "audit_unavailable")
    assert room.book.revoked == frozenset()


def test_what_there_is_no_room_for_is_not_in_the_log_as_done(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_book, "MAX_REVOKED", 0)
    answer = room.ask(f"/admin/keys/{ID}/revoke", REASON)
    assert answer.json()["reason"] == "keys_not_kept"
    assert room.audited() == []


def test_a_change_that_fails_after_it_was_recorded_is_recorded_as_failed(room: Room) -> None:
    room.ask(f"/admin/keys/id-{PLAIN_KEY}/revoke", REASON)
    (room.state_dir / REVOKED_FILE).unlink()
    (room.state_dir / REVOKED_FILE / "in the way").mkdir(parents=True)
    refused = [
        room.ask(f"/admin/keys/{id_}/{action}", REASON).json()["reason"]
        for id_, action in ((ID, "revoke"), (f"id-{PLAIN_KEY}", "restore"))
    ]
    assert refused == ["keys_not_kept", "keys_not_kept"]
    assert [(action, subject) for _, action, subject, _ in reversed(room.audited())] == [
        ("key.revoke", f"id-{PLAIN_KEY}"),
        ("key.revoke", ID),
        ("key.revoke_failed", ID),
        ("key.restore", f"id-{PLAIN_KEY}"),
        ("key.restore_failed", f"id-{PLAIN_KEY}"),
    ]
    assert room.book.revoked == {f"id-{PLAIN_KEY}"}


def test_reading_and_revoking_are_two_permissions(tmp_path: Path) -> None:
    auditor = Role("auditor", (f"key:id-{PLAIN_KEY}",), ("key.read",))
    room = Room(tmp_path, snapshot=replace(policy(), mesh=Mesh("test", roles=(auditor,))))
    assert room.ask("/admin/keys", key=PLAIN_KEY).status_code == 200
    refused = room.ask(f"/admin/keys/{ID}/revoke", REASON, key=PLAIN_KEY)
    assert (refused.status_code, refused.json()["reason"]) == (403, "permission_missing")
    assert room.ask("/admin/keys", key=KEY).status_code == 403
