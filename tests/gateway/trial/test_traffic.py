"""Recorded traffic comes in the order of decisions, whoever wrote it when."""

from __future__ import annotations

import random

import pytest

from gateway.decisions.records import Block
from gateway.trial import traffic
from gateway.trial.traffic import Row, ordered
from tests.gateway.policy import policy
from tests.gateway.trial.traffic_made import START_S, Call, recorded


def block(*at_s: float) -> Block:
    return recorded(policy(), [Call(at_s=one) for one in at_s])[0]


def moments(rows: list[Row]) -> list[float]:
    return [round(row[0] / 1e6 - START_S, 3) for row in rows]


def test_blocks_that_overlap_are_put_in_order() -> None:
    (rows,) = ordered([block(0.0, 5.0, 120.0), block(1.0, 6.0), block(0.5)])
    assert moments(rows) == [0.0, 0.5, 1.0, 5.0, 6.0, 120.0]


def test_only_the_span_that_is_asked_for_is_given() -> None:
    (rows,) = ordered([block(0.0, 1.0, 2.0, 3.0)], START_S + 1.0, START_S + 2.0)
    assert moments(rows) == [1.0, 2.0]


def test_a_row_says_who_asked_for_what_and_how_it_ended() -> None:
    ((row,),) = ordered([block(0.0)])
    _, caller, ended, *_ = row
    assert (caller.tenant, caller.method, caller.path) == ("ads", "POST", "/predictions/digits")
    assert (ended.model, ended.version, ended.status) == ("digits", "1", 200)


def test_memory_is_bounded_and_the_order_kept_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "ORDERED_ROWS", 20)
    times = [number / 10 for number in range(200)]
    # Each moves by fewer places than are kept in hand.
    jumbled = [times[at : at + 10] for at in range(0, 200, 10)]
    draw = random.Random(3)
    for part in jumbled:
        draw.shuffle(part)
    chunks = list(ordered(block(*part) for part in jumbled))
    assert max(map(len, chunks)) <= 40
    assert [at_s for chunk in chunks for at_s in moments(chunk)] == times
