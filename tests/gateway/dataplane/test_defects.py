"""Defects are counted, told once for each line of code, and never without a bound."""

from __future__ import annotations

import pytest

from gateway.dataplane import defects
from gateway.dataplane.defects import Defects


def raised(message: str) -> Exception:
    try:
        raise RuntimeError(message)
    except RuntimeError as error:
        return error


def test_a_defect_is_told_once_with_where_it_was_and_counted_always() -> None:
    said: list[str] = []
    noted = Defects(said.append)
    for number in range(3):
        noted.note("the look at a deadline", raised(f"number {number}"))
    assert noted.count == 3
    assert len(said) == 1
    assert said[0].startswith("a defect in the look at a deadline")
    assert said[0].endswith("RuntimeError")
    assert "number 0" not in said[0]
    assert "in raised" in said[0]


def test_no_more_than_so_many_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defects, "_MOST_TOLD", 1)
    said: list[str] = []
    noted = Defects(said.append)
    noted.note("one", raised("a"))
    noted.note("another", RuntimeError("never raised, so from nowhere"))
    assert (len(said), noted.count) == (1, 2)


def test_nobody_who_listens_is_no_second_defect() -> None:
    def say(line: str) -> None:
        raise BrokenPipeError

    noted = Defects(say)
    noted.note("here", raised("a"))
    assert noted.count == 1
