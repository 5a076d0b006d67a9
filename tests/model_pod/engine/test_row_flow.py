"""Which pieces may be sent: within the window, whatever a reader does, and never both ends waiting for each other."""

from __future__ import annotations

import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from model_pod.engine.row_flow import STALL_S, RowFlow, Step, next_step
from model_pod.protocols.exchange import HttpAnswer, RowOutput
from model_pod.server.answer_stream import AnswerStream
from model_pod.server.reply import NOTHING_USED, Usage
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import PIECE_BYTES, STREAM_WINDOW_BYTES
from model_pod.wire.link import CREDIT_BYTES
from model_pod.wire.rows import RowAnswer


def _flow(untaken_bytes: int, stuck_since_s: float = math.inf) -> RowFlow:
    flow = RowFlow()
    flow.gave(untaken_bytes)
    flow.stuck_since_s = stuck_since_s
    return flow


def test_each_row_is_judged_for_itself() -> None:
    gone = _flow(0)
    gone.close()
    flows = {
        0: _flow(0),
        1: _flow(STREAM_WINDOW_BYTES - 10),
        2: _flow(STREAM_WINDOW_BYTES - 9),
        3: _flow(STREAM_WINDOW_BYTES, 70.0),
        4: _flow(STREAM_WINDOW_BYTES, 75.0),
        5: gone,
    }
    step = next_step(dict.fromkeys(flows, 10), flows, now_s=70.0 + STALL_S)
    assert step == Step(send=(0, 1), stuck=(2, 4), stalled=(3,), drop=(5,), look_again_s=75.0 + STALL_S)


def test_a_reader_that_takes_anything_has_not_stalled() -> None:
    flow = _flow(STREAM_WINDOW_BYTES, 70.0)
    flow.took(1)
    step = next_step({0: 10}, {0: flow}, now_s=70.0 + STALL_S)
    assert (step.stuck, step.stalled) == ((0,), ())


class LazyReader:
    """A ``Responder`` whose reader takes what the test says, and tells of it only when it must."""

    def __init__(self) -> None:
        self.untaken_bytes = 0
        self.untold_bytes = 0
        self._on_read: Callable[[], None] | None = None

    def __call__(self, answer: HttpAnswer, usage: Usage = NOTHING_USED) -> None:
        raise AssertionError("the answer is made in pieces")

    def begin(self, answer: HttpAnswer) -> None:
        self.more(answer.body)

    def more(self, piece: Buffer) -> None:
        self.untaken_bytes += len(piece)

    def end(self, usage: Usage = NOTHING_USED) -> None:
        raise AssertionError("it does not end here")

    def cut(self, reason: str, usage: Usage = NOTHING_USED) -> None:
        raise AssertionError("it is not cut here")

    def watch(self, on_read: Callable[[], None]) -> None:
        self._on_read = on_read

    @property
    def unread_bytes(self) -> int:
        return self.untaken_bytes + self.untold_bytes

    def read(self, byte_count: int) -> None:
        """Take some, and say so once CREDIT_BYTES are untold."""
        taken = min(byte_count, self.untaken_bytes)
        self.untaken_bytes -= taken
        self.untold_bytes += taken
        if self.untold_bytes >= CREDIT_BYTES:
            self.untold_bytes = 0
        if self._on_read is not None:
            self._on_read()


def test_what_goes_untold_leaves_room_for_the_next_piece() -> None:
    uncredited, unread = PIECE_BYTES - 1, CREDIT_BYTES - 1
    assert next_step({0: PIECE_BYTES}, {0: _flow(uncredited + unread)}, 0.0).send == (0,)


@given(st.lists(st.integers(1, PIECE_BYTES), min_size=1, max_size=40), st.lists(st.integers(0, STREAM_WINDOW_BYTES)))
def test_no_reader_gets_ahead_of_the_window_and_one_that_reads_is_never_stuck(
    pieces: list[int], reads: list[int]
) -> None:
    flow, reader = RowFlow(), LazyReader()
    stream = AnswerStream(reader, lambda output, _: HttpAnswer(200, (), output.blobs[0]))
    reading = iter(reads)
    for byte_count in pieces:
        # As often as the test says, then everything: after that the next piece must fit.
        while not next_step({0: byte_count}, {0: flow}, 0.0).send:
            reader.read(next(reading, STREAM_WINDOW_BYTES))
            assert reader.untaken_bytes or next_step({0: byte_count}, {0: flow}, 0.0).send
        flow.gave(byte_count)
        if stream.has_begun:
            stream.more(bytes(byte_count))
        else:
            stream.begin(RowOutput(RowAnswer(blob=0), [bytes(byte_count)]), NOTHING_USED, flow.took)
        assert 0 <= reader.untaken_bytes <= flow.untaken_bytes <= STREAM_WINDOW_BYTES
