"""``/admin/samples`` over ASGI, with a true audit log and a copies process that is made up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway.control.admin import sample_routes
from gateway.control.audit.log import AuditLog
from gateway.control.copies_desk import CopiesDesk
from gateway.control.sample_desk import Purged, SampleDesk, SamplesReport
from gateway.copies.messages import AskSamples, PurgeSamples, SamplesTold, ToCopies
from gateway.copies.reports import Sample
from policies.snapshot.samples import Sampling
from tests.gateway.control.admin.asking import ask
from tests.gateway.copies.answered import snapshot

PLAIN = snapshot()
SNAPSHOT = replace(PLAIN, routes={"digits": replace(PLAIN.routes["digits"], samples=Sampling(("/a",), rate=1.0))})
ONE = Sample("r1", "t" * 32, 1.0, "digits", "1", "stable", "ads", "rate", 200, 0.01, True, {"/a": 1}, {})
WHOM = "ada-lovelace"


class Room:
    """The room and everything behind it."""

    def __init__(self, state: Path, told: SamplesTold | None = None) -> None:
        self.said: list[str] = []
        self.sent: list[ToCopies] = []
        self.snapshot = SNAPSHOT
        self._told = told
        self.audit = AuditLog(state, self.said.append)
        self.copies = CopiesDesk()
        self.copies.attach(self._send)
        desk = SampleDesk(self.copies, lambda: self.snapshot, self.audit, self.said.append)
        self.router = sample_routes.router(desk)

    def _send(self, message: ToCopies, blobs: Sequence[bytes] = ()) -> None:
        self.sent.append(message)
        assert isinstance(message, AskSamples | PurgeSamples)
        if self._told is None:
            asyncio.get_running_loop().call_soon(self.copies.detach)
        else:
            told = replace(self._told, number=message.number)
            asyncio.get_running_loop().call_soon(self.copies.heard, told)

    def ask(self, path: str, method: str = "GET", status: int = 200, **more: Any) -> bytes:
        answer = ask([self.router], path, method, **more)
        assert answer.status_code == status, answer.text
        return answer.content

    def audited(self) -> list[tuple[str, str, dict[str, Any]]]:
        records, _ = self.audit.newest(10)
        return [(one.record.action, one.record.subject, one.record.detail) for one in records]


def test_each_look_is_audited_before_it_is_answered(tmp_path: Path) -> None:
    room = Room(tmp_path, SamplesTold(0, (ONE,)))
    listed = room.ask("/admin/samples/digits?tenant=ads&why=rate&most=5")
    assert msgspec.json.decode(listed, type=SamplesReport).samples == (ONE,)
    assert msgspec.json.decode(room.ask("/admin/samples/digits/r1"), type=Sample) == ONE
    assert room.sent == [
        AskSamples(1, "digits", "ads", "rate", most=5),
        AskSamples(2, "digits", request_id="r1", most=1),
    ]
    assert room.audited() == [
        ("sample.read", "digits", {"request_id": "r1"}),
        ("sample.list", "digits", {"tenant": "ads", "why": "rate", "most": 5}),
    ]


def test_a_purge_is_audited_without_whom_it_was_about(tmp_path: Path) -> None:
    room = Room(tmp_path, SamplesTold(0, purged=3))
    body = {"subject": WHOM, "tenant": "ads", "before_s": 7.0}
    assert msgspec.json.decode(room.ask("/admin/samples/digits/purges", "POST", json=body), type=Purged) == Purged(3)
    room.ask("/admin/samples/purges", "POST", json={"all": True})
    assert room.sent == [PurgeSamples(1, "digits", "ads", WHOM, 7.0), PurgeSamples(2)]
    assert WHOM not in repr(room.sent)
    assert [one[:2] for one in room.audited()] == [("sample.purge", "*"), ("sample.purge", "digits")]
    assert room.audited()[1][2] == {"tenant": "ads", "before_s": 7.0, "by_subject": True}
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert WHOM.encode() not in kept
    assert not any(WHOM in line for line in room.said)


def test_a_purge_that_does_not_say_which_removes_nothing(tmp_path: Path) -> None:
    room = Room(tmp_path, SamplesTold(0, purged=3))
    for path in ("/admin/samples/purges", "/admin/samples/digits/purges"):
        room.ask(path, "POST", 400, json={})
    assert room.sent == []
    assert room.audited() == []


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    assert b"sample_not_found" in Room(tmp_path, SamplesTold(0)).ask("/admin/samples/digits/r9", status=404)


def test_a_name_that_no_model_has_is_told_and_samples_of_one_that_is_gone_are_shown(tmp_path: Path) -> None:
    room = Room(tmp_path, SamplesTold(0))
    for answer in (
        room.ask("/admin/samples/digist", status=404),
        room.ask("/admin/samples/digist/purges", "POST", 404, json={"subject": WHOM}),
    ):
        assert b"model_not_found" in answer
        assert b"No route is for a model digist" in answer
    assert msgspec.json.decode(room.ask("/admin/samples/digits"), type=SamplesReport).samples == ()
    gone = Room(tmp_path, SamplesTold(0, (ONE,), purged=1))
    gone.snapshot = replace(SNAPSHOT, routes={"ranker": SNAPSHOT.routes["digits"]})
    assert msgspec.json.decode(gone.ask("/admin/samples/digits"), type=SamplesReport).samples == (ONE,)
    purged = gone.ask("/admin/samples/digits/purges", "POST", json={"all": True})
    assert msgspec.json.decode(purged, type=Purged) == Purged(1)


@pytest.mark.parametrize("told", [None, SamplesTold(0, problem="the disk is broken")], ids=["away", "failed"])
def test_what_is_not_done_is_refused(tmp_path: Path, told: SamplesTold | None) -> None:
    room = Room(tmp_path, told)
    assert b"copies_unavailable" in room.ask("/admin/samples/purges", "POST", 503, json={"all": True})


def test_without_samples_in_policy_nobody_is_asked(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.snapshot = PLAIN
    assert msgspec.json.decode(room.ask("/admin/samples/digits"), type=SamplesReport).samples == ()
    assert room.sent == []
