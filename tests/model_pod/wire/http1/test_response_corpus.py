"""A pod's answers against the gate: what is no answer is found out, however its bytes are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.wire.http1 import END, ResponseHead, ResponseReader
from tests.http_corpus.cases import HostileAnswer, LegalAnswer, hostile_answers, legal_answers

HOSTILE = list(hostile_answers())
LEGAL = list(legal_answers())
_SLICED_BYTES = 32 * 1024


def read(data: bytes, cuts: list[int]) -> tuple[str, int, bytes]:
    """Feed the data cut at these places, then the connection's end; return how it ended, the status and the body."""
    reader = ResponseReader("POST")
    status, body, ended = 0, b"", False
    for start, end in pairwise([0, *cuts, len(data)]):
        reader.feed(data[start:end])
        try:
            while (event := reader.next_event()) is not None:
                if isinstance(event, ResponseHead):
                    status = event.status
                elif event is END:
                    ended = True
                else:
                    body += bytes(event)
        except ValueError:
            return "refused", status, body
    if not ended and not reader.at_eof():
        return "cut", status, body
    return "extra" if reader.unread_bytes else "whole", status, body


def names(case: HostileAnswer | LegalAnswer) -> str:
    return case.name


@pytest.mark.parametrize("case", HOSTILE, ids=names)
def test_what_is_no_answer_is_found_out(case: HostileAnswer) -> None:
    assert read(case.data, [])[0] == case.found


@pytest.mark.parametrize("case", [case for case in HOSTILE if len(case.data) <= _SLICED_BYTES], ids=names)
def test_what_is_no_answer_is_found_out_byte_by_byte(case: HostileAnswer) -> None:
    assert read(case.data, list(range(1, len(case.data))))[0] == case.found


@pytest.mark.parametrize("case", LEGAL, ids=names)
def test_what_is_an_answer_is_taken(case: LegalAnswer) -> None:
    assert read(case.data, []) == ("whole", case.status, case.body)


@given(st.sampled_from(LEGAL), st.data())
def test_how_an_answer_is_cut_changes_nothing(case: LegalAnswer, data: st.DataObject) -> None:
    assert read(case.data, some_cuts(data, case.data)) == ("whole", case.status, case.body)


@given(st.sampled_from(HOSTILE), st.data())
def test_no_cut_makes_a_hostile_answer_whole(case: HostileAnswer, data: st.DataObject) -> None:
    assert read(case.data, some_cuts(data, case.data))[0] == case.found


@given(st.sampled_from([case for case in LEGAL if b"Content-Length" in case.data or b"hunked" in case.data]), st.data())
def test_an_answer_that_is_cut_off_anywhere_is_not_whole(case: LegalAnswer, data: st.DataObject) -> None:
    if case.body:
        kept = data.draw(st.integers(0, len(case.data) - 1))
        assert read(case.data[:kept], [])[0] == "cut"


def some_cuts(data: st.DataObject, cut: bytes) -> list[int]:
    places = st.integers(1, max(1, len(cut) - 1))
    return sorted(data.draw(st.sets(places, max_size=8)))


def test_the_corpus_of_answers_names_each_once() -> None:
    assert len({case.name for case in HOSTILE}) == len(HOSTILE) > 80
    assert len({case.name for case in LEGAL}) == len(LEGAL) > 20
