"""Kept traces are remembered for a minute, and told of once to each reader."""

from __future__ import annotations

import msgspec

from telemetry.sidecar.judgement import Kept
from telemetry.sidecar.kept import (
    AGAIN_AFTER_S,
    JOINED,
    LISTED,
    REMEMBERED,
    REMEMBERED_S,
    Keep,
    KeepList,
    Keeps,
    KeptTraces,
)


def test_a_kept_trace_is_remembered_with_its_first_reason_and_then_forgotten() -> None:
    kept = KeptTraces()
    kept.note("a", Kept.ERROR, 0.0)
    kept.note("a", Kept.LINKED, 1.0)
    assert (kept.why("a"), kept.why("b")) == (Kept.ERROR, None)
    kept.note("b", Kept.SHARE, REMEMBERED_S + 0.9)
    assert (kept.why("a"), kept.why("b")) == (Kept.ERROR, Kept.SHARE)
    kept.note("b", Kept.SHARE, REMEMBERED_S + 1.1)
    assert (kept.why("a"), kept.why("b")) == (None, Kept.SHARE)


def test_a_trace_brings_so_many_requests_along_and_no_more() -> None:
    kept = KeptTraces()
    for trace_id in "ab":
        kept.note(trace_id, Kept.SHARE, 0.0)
        assert [kept.joins(trace_id) for _ in range(JOINED + 2)] == [True] * JOINED + [False] * 2
        kept.note(trace_id, Kept.SHARE, 1.0)
        assert not kept.joins(trace_id)


def test_beyond_the_bound_the_oldest_are_forgotten() -> None:
    kept = KeptTraces()
    for number in range(REMEMBERED + 1):
        kept.note(str(number), Kept.SHARE, 0.0)
    assert (kept.why("0"), kept.why("1")) == (None, Kept.SHARE)


def test_a_reader_is_told_what_is_new_to_it() -> None:
    listed = KeepList(first=1000)
    one, other = Keep("a", Kept.ERROR), Keep("b", Kept.SLOW)
    assert listed.after(0, 0.0) == Keeps(1000, ())
    listed.add(one, 0.0)
    assert listed.after(0, 0.0) == listed.after(1000, 0.0) == Keeps(1001, (one,))
    listed.add(other, 1.0)
    assert listed.after(1001, 1.0) == Keeps(1002, (other,))
    assert listed.after(1002, 1.0) == Keeps(1002, ())


def test_the_list_is_of_the_last_minute_and_bounded() -> None:
    listed = KeepList(first=0)
    listed.add(Keep("old", Kept.ERROR), 0.0)
    assert listed.after(0, REMEMBERED_S + 1.0) == Keeps(1, ())
    for number in range(LISTED + 1):
        listed.add(Keep(str(number), Kept.ERROR), 1.0)
    assert len(listed.after(0, 1.0).traces) == LISTED


def test_a_trace_is_listed_once_until_that_is_long_ago() -> None:
    listed = KeepList(first=0)
    one, other = Keep("a", Kept.ERROR), Keep("b", Kept.SLOW)
    listed.add(one, 0.0)
    listed.add(other, 1.0)
    listed.add(one, AGAIN_AFTER_S - 0.1)
    assert listed.after(0, AGAIN_AFTER_S) == Keeps(2, (one, other))
    listed.add(one, AGAIN_AFTER_S)
    assert listed.after(2, AGAIN_AFTER_S) == Keeps(3, (one,))


def test_what_is_told_is_read_back() -> None:
    keeps = Keeps(7, (Keep("a" * 32, Kept.BAD),))
    told = msgspec.json.encode(keeps)
    assert told == b'{"next":7,"traces":[["%s","bad"]]}' % (b"a" * 32)
    assert msgspec.json.decode(told, type=Keeps) == keeps
