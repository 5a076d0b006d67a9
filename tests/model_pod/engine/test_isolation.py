from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from model_pod.engine.isolation import Isolated, Remedy, RunFailed, isolate
from model_pod.wire.rows import RowRefused

CULPRIT = RowRefused("handler_failed", "ValueError: bad item")
MISCOUNTED = RowRefused("bad_output", "wrong count")
LOST = RowRefused("inference_lost", "the device failed")


def _run(rows: Sequence[str]) -> list[str]:
    """A handler that fails as the marked rows make it fail."""
    if "lost" in rows:
        raise RunFailed(LOST, Remedy.STOP)
    if "poison" in rows:
        raise RunFailed(CULPRIT, Remedy.HALVE)
    if "short" in rows:
        raise RunFailed(MISCOUNTED, Remedy.RUN_SINGLY)
    return [row.upper() for row in rows]


def test_a_healthy_batch_runs_once() -> None:
    assert isolate(["a", "b"], _run) == Isolated(("A", "B"), runs=1)


def test_one_poisoned_row_of_eight_costs_log_two_more_runs() -> None:
    rows = ["a", "b", "c", "poison", "e", "f", "g", "h"]
    isolated = isolate(rows, _run)
    assert isolated.outcomes == ("A", "B", "C", CULPRIT, "E", "F", "G", "H")
    assert isolated.runs == 7


def test_a_wrong_count_runs_the_rows_singly() -> None:
    assert isolate(["a", "short", "c"], _run) == Isolated(("A", MISCOUNTED, "C"), runs=4)


def test_a_lost_device_stops_and_keeps_what_was_answered() -> None:
    def run(rows: Sequence[str]) -> list[str]:
        if len(rows) > 1:
            raise RunFailed(CULPRIT, Remedy.HALVE)
        return _run(rows)

    assert isolate(["a", "lost", "c"], run) == Isolated(("A", LOST, LOST), runs=4, stopped=True)


def test_a_batch_too_large_for_memory_is_answered_in_parts() -> None:
    def run(rows: Sequence[str]) -> list[str]:
        if len(rows) > 2:
            raise RunFailed(RowRefused("out_of_memory", ""), Remedy.HALVE)
        return _run(rows)

    assert isolate(list("abcdefgh"), run).outcomes == tuple("ABCDEFGH")


def test_rows_that_may_not_run_again_share_the_failure_and_the_others_do_not() -> None:
    isolated = isolate(["a", "begun", "poison", "d"], _run, lambda row: row != "begun")
    assert isolated == Isolated(("A", CULPRIT, CULPRIT, "D"), runs=5)


@given(st.lists(st.sampled_from(["a", "begun", "poison", "short"]), max_size=24))
def test_a_row_that_may_not_run_again_runs_once(rows: list[str]) -> None:
    named = list(enumerate(rows))
    begun: list[int] = []

    def run(part: Sequence[tuple[int, str]]) -> list[str]:
        begun.extend(place for place, row in part if row == "begun")
        return _run([row for _, row in part])

    isolated = isolate(named, run, lambda row: row[1] != "begun")
    assert begun == [place for place, row in named if row == "begun"]
    assert isolated.runs <= max(1, 2 * len(rows))
    spoilt = {"poison": (CULPRIT,), "short": (MISCOUNTED,), "a": ("A",), "begun": ("BEGUN", CULPRIT, MISCOUNTED)}
    assert all(outcome in spoilt[row] for row, outcome in zip(rows, isolated.outcomes, strict=True))


def test_no_rows_need_no_run() -> None:
    assert isolate([], _run) == Isolated((), runs=0)


@given(st.lists(st.sampled_from(["a", "b", "poison", "short"]), max_size=24))
def test_every_row_has_one_outcome_and_healthy_rows_are_answered(rows: list[str]) -> None:
    expected = {"a": "A", "b": "B", "poison": CULPRIT, "short": MISCOUNTED}
    isolated = isolate(rows, _run)
    assert isolated.outcomes == tuple(expected[row] for row in rows)
    assert isolated.runs <= max(1, 2 * len(rows))


@given(st.lists(st.sampled_from(["a", "poison", "short", "lost"]), min_size=1, max_size=16))
def test_even_with_a_lost_device_every_row_has_one_outcome(rows: list[str]) -> None:
    isolated = isolate(rows, _run)
    assert len(isolated.outcomes) == len(rows)
    assert isolated.stopped == ("lost" in rows)
