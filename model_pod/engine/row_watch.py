"""Which rows of a batch are summarised, and what they add up to until the server is told; after they were answered."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from model_pod.engine.inputs import BadInput, handler_row
from model_pod.engine.measures import PartTally, answered
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import Summarised, Watch
from model_pod.wire.rows import Row, RowAnswer, RowOutcome
from telemetry.drift.fields import INPUT, OUTPUT, Field

MOST_PER_S: Final = 200.0
"""Rows of up to ``USUAL_BYTES`` a second, and fewer larger ones; what is drawn beyond is counted as unread."""
USUAL_BYTES: Final = 8 * 2**10
ROW_BYTES: Final = 2**20
"""A row whose input or output is larger is not read."""
TELL_EVERY_S: Final = 1.0
# Of JSON and tensors one name is the body as a whole, and a pointer begins inside it.
_WHOLE: Final = "body"


class RowWatch:
    """Summarises rows as policy asks.

    Args:
        clock: monotonic seconds.
        draw: a number from 0 to below 1, for chance.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random) -> None:
        self._clock = clock
        self._draw = draw
        self._share = 0.0
        self._parts: list[tuple[str, str, PartTally]] = []
        self._room = MOST_PER_S
        self._room_at_s = clock()
        self._unread = 0
        self._since_s: float | None = None

    def heed(self, watch: Watch) -> Summarised | None:
        """Watch by this from now on; return what was summarised before."""
        before = self.take()
        self._share = watch.share
        sides = ((INPUT, watch.inputs), (OUTPUT, watch.outputs))
        self._parts = [(side, part.path, PartTally(part, side == OUTPUT)) for side, parts in sides for part in parts]
        return before

    @property
    def due_in_s(self) -> float | None:
        """In how long the server is to be told; None where there is nothing to tell."""
        return None if self._since_s is None else max(0.0, self._since_s + TELL_EVERY_S - self._clock())

    def see(
        self,
        rows: Sequence[Row],
        blobs: Sequence[Buffer],
        outcomes: Sequence[RowOutcome],
        answers: Sequence[Buffer],
        is_whole: Callable[[int], bool],
    ) -> None:
        """Draw rows of a batch that was answered, and summarise them.

        Args:
            blobs, answers: what the rows and their outcomes name by position.
            is_whole: whether the answer to a row is all in its outcome, and not sent in pieces.
        """
        if not self._parts or not self._share:
            return
        for place, (row, outcome) in enumerate(zip(rows, outcomes, strict=True)):
            if isinstance(outcome, RowAnswer) and outcome.status < 300 and self._draw() < self._share:
                self._see_row(row, blobs, outcome if is_whole(place) and not row.explain else None, answers)

    def take(self) -> Summarised | None:
        """Return what was summarised since the last time; None where that is nothing."""
        if self._since_s is None:
            return None
        taken = tuple((side, path, tally.take(self._unread)) for side, path, tally in self._parts)
        self._since_s, self._unread = None, 0
        # As many as were drawn, each part tells of: the first alone would be misread as one part's trouble.
        return Summarised(tuple((side, path, _packed(field)) for side, path, field in taken))

    def _see_row(self, row: Row, blobs: Sequence[Buffer], outcome: RowAnswer | None, answers: Sequence[Buffer]) -> None:
        now_s = self._clock()
        if self._since_s is None:
            self._since_s = now_s
        self._room = min(MOST_PER_S, self._room + (now_s - self._room_at_s) * MOST_PER_S)
        self._room_at_s = now_s
        size = _size(row, blobs, outcome, answers)
        if self._room < 1.0 or size > ROW_BYTES:
            self._unread += 1
            return
        self._room -= max(1.0, size / USUAL_BYTES)
        values = {INPUT: _input(row, blobs), OUTPUT: _output(outcome, answers) if outcome else None}
        for side, _, tally in self._parts:
            if side == INPUT or outcome is not None:
                # Nothing that a row holds may end the process.
                with suppress(Exception):
                    tally.add(values[side])


def _input(row: Row, blobs: Sequence[Buffer]) -> Any:
    try:
        named = handler_row(row, blobs)
    except BadInput:
        return None
    return named[_WHOLE] if not row.tensors and set(named) == {_WHOLE} else named


def _output(outcome: RowAnswer, answers: Sequence[Buffer]) -> Any:
    if outcome.tensors:
        return handler_row(Row("", tensors=outcome.tensors), answers)
    return answered(answers[outcome.blob])


def _size(row: Row, blobs: Sequence[Buffer], outcome: RowAnswer | None, answers: Sequence[Buffer]) -> int:
    named = [*(part.blob for part in row.parts), *(tensor.blob for tensor in row.tensors)]
    taken = sum(len(blobs[at]) for at in named)
    if outcome is None:
        return taken
    given = [outcome.blob, *(tensor.blob for tensor in outcome.tensors)]
    return taken + sum(len(answers[at]) for at in given if at >= 0)


def _packed(field: Field) -> tuple[Any, ...]:
    """Return a field as a tuple, which is all that the server needs to pass it on."""
    sketches = {
        name: (one.scale, one.octave, one.zeros, one.positive, one.negative) for name, one in field.measures.items()
    }
    return (field.rows, field.unread, sketches, field.classes, field.kinds, field.flags)
