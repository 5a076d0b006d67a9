"""What is recorded, what is left out of it, and when it goes."""

from __future__ import annotations

from errno import ENOSPC
from pathlib import Path

import msgspec
import pytest

from gateway.copies import recordings as module
from gateway.copies.recordings import Recordings, remove_unrecorded
from gateway.copies.segments import Recorded, Segment
from policies.snapshot.release import LeftOut, Recording
from tests.gateway.copies.answered import AT_S, JSON, answer, answered, snapshot

RECORD = Recording(sample=1.0)
BODY = b'{"data":[1,2],"user":{"mail":"a@b.example"}}'


class Kept:
    """Recordings in a folder, and what they said."""

    def __init__(self, folder: Path, rule: Recording | None = RECORD) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.recordings = Recordings(folder, self.said.append)
        self.recordings.use(snapshot(rule))

    def keep(self, number: int = 1, body: bytes = BODY, tenant: str = "ads", at_s: float = AT_S) -> str:
        told = answered(number, tenant=tenant, at_s=at_s)
        return self.recordings.keep(told, body, answer(b'{"label":7}'), at_s)

    def ids(self, most: int = 1000) -> list[str]:
        found = [place.read() for place in self.recordings.latest("digits", most)]
        return [one.answered.request_id for one in found if one is not None]

    def on_disk(self) -> bytes:
        return b"".join(path.read_bytes() for path in self.folder.rglob("*.requests"))


def test_the_latest_are_read_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert [kept.keep(number) for number in range(5)] == ["recorded"] * 5
    assert kept.ids(3) == ["r2", "r3", "r4"]
    assert kept.recordings.count_of("digits") == 5
    assert kept.recordings.bytes_kept == {"digits": len(kept.on_disk())}
    assert kept.recordings.counts == {"digits": {"recorded": 5}}


def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    before = Kept(tmp_path)
    before.keep(1)
    after = Kept(tmp_path)
    after.keep(2)
    assert after.ids() == ["r1", "r2"]


def test_a_kill_in_the_middle_of_a_write_costs_that_request_alone(tmp_path: Path) -> None:
    before = Kept(tmp_path)
    before.keep(1)
    before.keep(2)
    path = next(tmp_path.rglob("*.requests"))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3)
    after = Kept(tmp_path)
    after.keep(3)
    assert after.ids() == ["r1", "r3"]


def test_nothing_that_is_left_out_reaches_the_disk(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_headers=("x-mail",), drop_fields=("/user",)))
    assert kept.keep() == "recorded"
    assert b"a@b.example" not in kept.on_disk()
    assert b"secret" not in kept.on_disk()  # a cookie of the answer's
    place = kept.recordings.latest("digits", 1)[0].read()
    assert place is not None
    assert place.body == b'{"data":[1,2]}'
    assert place.answered.answer_fields == JSON


def test_what_cannot_lose_its_fields_is_not_recorded(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_fields=("/user",)))
    assert kept.keep(body=b"\xff\xfe a@b.example") == "not_redactable"
    assert kept.on_disk() == b""


@pytest.mark.parametrize("body", [b"7", b'"cat"', b"cat", b""])
def test_an_answer_without_fields_has_none_to_lose(tmp_path: Path, body: bytes) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_fields=("/user",)))
    assert kept.recordings.keep(answered(), BODY, answer(body), AT_S) == "recorded"


def test_an_answer_loses_the_same_fields(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_headers=("x-mail",), drop_fields=("/user",)))
    kept.recordings.keep(answered(), BODY, answer(b'{"user":"a@b.example","label":7}'), AT_S)
    assert b"a@b.example" not in kept.on_disk()


@pytest.mark.parametrize("body", [b'{"user":"planted"}\n{"user":"planted"}\n', b'data: {"user":"planted"}\n\n'])
def test_an_answer_in_lines_or_events_that_has_to_lose_fields_is_not_recorded(tmp_path: Path, body: bytes) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_fields=("/user",)))
    assert kept.recordings.keep(answered(), BODY, answer(body), AT_S) == "not_redactable"
    kept.recordings.use(snapshot(RECORD))
    assert kept.recordings.keep(answered(), BODY, answer(body), AT_S) == "recorded"


def test_a_compressed_answer_that_has_to_lose_fields_is_not_recorded(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_fields=("/user",)))
    packed = msgspec.structs.replace(answer(b"\x1f\x8b"), fields=b"Content-Encoding: gzip\r\n")
    assert kept.recordings.keep(answered(), BODY, packed, AT_S) == "not_redactable"


@pytest.mark.parametrize(
    ("head", "what"),
    [(b'{"outputs":[{"name":"label"}]}', "recorded"), (b'{"user":1,"outputs":[]}', "not_redactable")],
)
def test_the_head_of_binary_tensors_is_looked_at(tmp_path: Path, head: bytes, what: str) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_fields=("/user",)))
    fields = b"inference-header-content-length: %d\r\n" % len(head)
    told = msgspec.structs.replace(answer(head + b"\0\1"), fields=fields)
    assert kept.recordings.keep(answered(), BODY, told, AT_S) == what


def test_the_oldest_make_room(tmp_path: Path) -> None:
    most = 40_000
    kept = Kept(tmp_path, Recording(1.0, max_bytes=most))
    for number in range(300):
        assert kept.keep(number) == "recorded"
        assert len(kept.on_disk()) <= most
    ids = kept.ids()
    assert ids[-1] == "r299"
    assert ids == [f"r{number}" for number in range(300 - len(ids), 300)]
    assert len(kept.on_disk()) > most * 3 / 4


def test_a_request_larger_than_all_that_may_be_kept_removes_nothing(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Recording(1.0, max_bytes=10_000))
    kept.keep(1)
    assert kept.keep(2, body=b"x" * 20_000) == "too_large"
    assert kept.ids() == ["r1"]


def test_nothing_is_kept_for_longer_than_policy_says(tmp_path: Path) -> None:
    kept = Kept(tmp_path, Recording(1.0, keep_s=800.0))
    for number in range(20):
        kept.keep(number, at_s=AT_S + number * 100.0)
    now_s = AT_S + 2000.0
    kept.recordings.tidy(now_s)
    places = [place.read() for place in kept.recordings.latest("digits", 100)]
    ages_s = [now_s - one.answered.at_s for one in places if one is not None]
    assert max(ages_s) <= 800.0
    assert len(ages_s) >= 6  # nor are many of those removed that may yet stay


def test_a_model_that_is_not_recorded_any_more_is_forgotten(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep()
    kept.recordings.use(snapshot(None))
    assert list(tmp_path.iterdir()) == []
    assert "digits is not recorded any more" in kept.said[0]
    assert kept.keep() == module.NOT_RECORDED


def test_it_is_forgotten_too_when_policy_changed_while_nothing_ran(tmp_path: Path) -> None:
    Kept(tmp_path).keep()
    assert remove_unrecorded(tmp_path, ()) == ["digits"]
    assert list(tmp_path.iterdir()) == []
    assert remove_unrecorded(tmp_path / "missing", ()) == []


@pytest.mark.parametrize("rule", [RECORD, Recording(1.0, never=LeftOut(tenants=("shop",)))])
def test_requests_of_a_tenant_that_is_not_recorded_any_more_are_removed(tmp_path: Path, rule: Recording) -> None:
    kept = Kept(tmp_path)
    kept.keep(1)
    kept.keep(2, tenant="shop", body=b'{"planted":"secret"}')
    consenting = ("ads", "shop") if rule.never.tenants else ("ads",)
    kept.recordings.use(snapshot(rule, consenting=consenting))
    assert kept.ids() == ["r1"]
    assert b"planted" not in kept.on_disk()
    assert "1 of shop" in kept.said[0]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_was_recorded_with_more_in_it_than_policy_now_allows_is_removed(
    tmp_path: Path, is_restarted: bool
) -> None:
    kept = Kept(tmp_path, Recording(1.0, drop_fields=("/user",)))
    kept.keep()
    stricter = Recording(1.0, drop_fields=("/user", "/data"))
    if is_restarted:
        kept = Kept(tmp_path, stricter)
    else:
        kept.recordings.use(snapshot(stricter))
    assert kept.ids() == []
    assert "more is left out" in kept.said[0]
    kept.keep()
    kept.recordings.use(snapshot(Recording(1.0, drop_fields=("/data",))))
    assert kept.ids() == ["r1"]  # less is left out now: what was recorded may stay


def test_requests_of_a_tier_that_is_not_recorded_any_more_are_removed(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep(1)
    kept.keep(2, tenant="shop")
    now = snapshot(Recording(1.0, never=LeftOut(tiers=("gold",))))
    moved = {"shop": msgspec.structs.replace(now.tenants["shop"], tier="gold")}
    kept.recordings.use(msgspec.structs.replace(now, tenants=now.tenants | moved))
    assert kept.ids() == ["r1"]


def test_a_tenants_requests_go_even_where_nothing_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept(tmp_path)
    kept.keep(1)
    kept.keep(2, tenant="shop", body=b'{"planted":"secret"}')

    def full(self: Segment, recorded: Recorded, frame: bytes) -> None:
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(Segment, "append", full)
    kept.recordings.use(snapshot(RECORD, consenting=("ads",)))
    assert b"planted" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    monkeypatch.undo()
    kept.keep(3)
    assert kept.ids() == ["r3"]


def test_what_is_removed_on_request_is_gone(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.keep()
    places = kept.recordings.latest("digits", 10)
    assert kept.recordings.forget("digits") == 1
    assert kept.on_disk() == b""
    assert places[0].read() is None
    kept.keep(2)
    assert kept.ids() == ["r2"]


def test_a_disk_that_takes_nothing_is_told_once_and_counted(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    (tmp_path / "digits").rename(tmp_path / "away")
    assert [kept.keep(), kept.keep()] == ["not_written", "not_written"]
    assert len(kept.said) == 1
    assert kept.recordings.counts == {"digits": {"not_written": 2}}
    (tmp_path / "away").rename(tmp_path / "digits")
    kept.keep(3)
    assert kept.ids() == ["r3"]
