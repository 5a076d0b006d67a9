"""The corpus against the gate: what is hostile is refused, what is legal is accepted, however the bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.wire.http1 import END, HeadLimits, RequestHead, RequestReader
from model_pod.wire.refusals import Refused
from tests.http_corpus.cases import LIMIT_BYTES, Hostile, Legal, hostile, legal

HOSTILE = list(hostile())
LEGAL = list(legal())
# Cut into single bytes, these would take minutes.
_SLICED_BYTES = 32 * 1024
Read = tuple[list[RequestHead], list[bytes], str]


def read_all(data: bytes, cuts: list[int]) -> Read:
    """Feed the data cut at these places; return the heads, the whole bodies, and the reason of a refusal."""
    reader = RequestReader(HeadLimits())
    heads: list[RequestHead] = []
    bodies: list[bytes] = []
    pieces: list[bytes] = []
    for start, end in pairwise([0, *cuts, len(data)]):
        reader.feed(data[start:end])
        try:
            while (event := reader.next_event(LIMIT_BYTES)) is not None:
                if isinstance(event, RequestHead):
                    heads.append(event)
                elif event is END:
                    bodies.append(b"".join(pieces))
                    pieces = []
                    reader.start_next()
                else:
                    pieces.append(bytes(event))
        except Refused as refused:
            return heads, bodies, refused.reason
    return heads, bodies, ""


def ids(case: Hostile | Legal) -> str:
    return f"{case.kind}: {case.name}" if isinstance(case, Hostile) else case.name


@pytest.mark.parametrize("case", HOSTILE, ids=ids)
def test_a_hostile_request_is_refused(case: Hostile) -> None:
    heads, bodies, reason = read_all(case.data, [])
    assert case.is_refused_with(reason), reason
    assert not bodies, f"{heads[0].method} {heads[0].target} was read as a whole request"


@pytest.mark.parametrize("case", [case for case in HOSTILE if len(case.data) <= _SLICED_BYTES], ids=ids)
def test_a_hostile_request_is_refused_byte_by_byte(case: Hostile) -> None:
    _, bodies, reason = read_all(case.data, list(range(1, len(case.data))))
    assert case.is_refused_with(reason), reason
    assert not bodies


@pytest.mark.parametrize("case", LEGAL, ids=ids)
def test_a_legal_request_is_accepted(case: Legal) -> None:
    assert_accepted(case, read_all(case.data, []))


@pytest.mark.parametrize("case", [case for case in LEGAL if len(case.data) <= _SLICED_BYTES], ids=ids)
def test_a_legal_request_is_accepted_byte_by_byte(case: Legal) -> None:
    assert_accepted(case, read_all(case.data, list(range(1, len(case.data)))))


def assert_accepted(case: Legal, read: Read) -> None:
    heads, bodies, reason = read
    assert not reason, reason
    assert [(head.method, head.target) for head in heads] == [(case.method, case.target)]
    assert bodies == [case.body]


@given(st.sampled_from(HOSTILE), st.data())
def test_no_cut_makes_a_hostile_request_whole(case: Hostile, data: st.DataObject) -> None:
    _, bodies, reason = read_all(case.data, some_cuts(data, case.data))
    assert case.is_refused_with(reason), reason
    assert not bodies


@given(st.sampled_from(LEGAL), st.sampled_from(LEGAL), st.data())
def test_two_legal_requests_on_one_connection_are_two_however_they_are_cut(
    first: Legal, second: Legal, data: st.DataObject
) -> None:
    heads, bodies, reason = read_all(first.data + second.data, some_cuts(data, first.data + second.data))
    assert not reason
    assert [(head.method, head.target) for head in heads] == [
        (first.method, first.target),
        (second.method, second.target),
    ]
    assert bodies == [first.body, second.body]


@given(st.sampled_from(LEGAL), st.sampled_from(HOSTILE), st.data())
def test_what_follows_a_legal_request_is_read_as_strictly(first: Legal, second: Hostile, data: st.DataObject) -> None:
    _, bodies, reason = read_all(first.data + second.data, some_cuts(data, first.data + second.data))
    assert bodies == [first.body]
    assert second.is_refused_with(reason), reason


def some_cuts(data: st.DataObject, cut: bytes) -> list[int]:
    places = st.integers(1, max(1, len(cut) - 1))
    return sorted(data.draw(st.sets(places, max_size=8)))


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert len(HOSTILE) >= 400
    assert len(LEGAL) >= 120
    assert len({(case.kind, case.name) for case in HOSTILE}) == len(HOSTILE)
    assert len({case.name for case in LEGAL}) == len(LEGAL)


def test_every_class_has_its_cases() -> None:
    by_kind = {case.kind: sum(other.kind == case.kind for other in HOSTILE) for case in HOSTILE}
    assert min(by_kind.values()) >= 10, by_kind
