"""Decides which rows of a failed batch are run again, so that only the culprits are refused.

It knows nothing of models: ``run`` answers rows or says how it failed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from model_pod.wire.rows import RowRefused

Row = TypeVar("Row")
Answer = TypeVar("Answer")


class Remedy(Enum):
    """What to do with the rows of a run that failed as a whole."""

    HALVE = "halve"  # one row is the culprit, or the batch was too large
    RUN_SINGLY = "run_singly"  # the answers cannot be told apart
    STOP = "stop"  # nothing can run in this process any more


class RunFailed(Exception):
    """A run of several rows failed as a whole.

    Args:
        refusal: what a row is told if it is found alone to be the culprit.
    """

    def __init__(self, refusal: RowRefused, remedy: Remedy) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Isolated(Generic[Answer]):
    """One outcome per row, in order.

    Attributes:
        runs: how often ``run`` was called; below twice the number of rows.
        stopped: a run said that nothing can run any more.
    """

    outcomes: tuple[Answer | RowRefused, ...]
    runs: int
    stopped: bool = False


def _always(row: object) -> bool:
    return True


def isolate(
    rows: Sequence[Row],
    run: Callable[[Sequence[Row]], Sequence[Answer]],
    may_run_again: Callable[[Row], bool] = _always,
) -> Isolated[Answer]:
    """Run rows together, and parts of them again where that fails, until every row is answered or refused.

    Halving n rows down to every single one takes 2n - 1 runs, and running them singly n + 1; no mixture takes more.

    Args:
        run: returns one answer per row it is given, or raises ``RunFailed``.
        may_run_again: asked of each row after a run that failed; where it may not, the failure is the row's outcome,
            whoever was the culprit.
    """
    outcomes: list[Answer | RowRefused | None] = [None] * len(rows)
    waiting: deque[Sequence[int]] = deque([range(len(rows))] if rows else [])
    runs = 0
    while waiting:
        part = waiting.popleft()
        runs += 1
        try:
            answers = run([rows[index] for index in part])
        except RunFailed as failure:
            if failure.remedy is Remedy.STOP:
                return Isolated(tuple(outcome or failure.refusal for outcome in outcomes), runs, stopped=True)
            again = [index for index in part if len(part) > 1 and may_run_again(rows[index])]
            for index in set(part).difference(again):
                outcomes[index] = failure.refusal
            waiting.extendleft(reversed(_parts_to_run(again, failure.remedy)))
        else:
            for index, answer in zip(part, answers, strict=True):
                outcomes[index] = answer
    return Isolated(tuple(outcome for outcome in outcomes if outcome is not None), runs)


def _parts_to_run(rows: Sequence[int], remedy: Remedy) -> list[Sequence[int]]:
    if remedy is Remedy.RUN_SINGLY:
        return [[index] for index in rows]
    middle = len(rows) // 2
    return [part for part in (rows[:middle], rows[middle:]) if part]
