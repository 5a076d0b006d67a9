"""Which pieces of which rows may be sent now, whose reader has stalled, and when to look again; no clock, no socket."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from model_pod.wire.inference import STREAM_WINDOW_BYTES

# A little less than the edges give a reader, so that the handler is never kept by one that they have given up.
STALL_S = 30.0


class RowFlow:
    """One row's pieces on their way to its reader.

    Attributes:
        untaken_bytes: sent, and not yet taken as far as is known.
        has_begun: a piece was sent.
        is_open: more may be sent; False once its caller has left or its reader has stalled.
        stuck_since_s: since when its next piece has waited for the reader; infinity while none does.
    """

    __slots__ = ("has_begun", "is_open", "stuck_since_s", "untaken_bytes")

    def __init__(self) -> None:
        self.untaken_bytes = 0
        self.has_begun = False
        self.is_open = True
        self.stuck_since_s = math.inf

    def gave(self, byte_count: int) -> None:
        """A piece was sent."""
        self.has_begun = True
        self.untaken_bytes += byte_count

    def took(self, byte_count: int) -> None:
        """The reader took so much more."""
        self.untaken_bytes -= byte_count
        self.stuck_since_s = math.inf

    def close(self) -> None:
        """Nothing more is sent."""
        self.is_open = False


class Step(NamedTuple):
    """What to do now.

    Attributes:
        send: rows whose next piece goes out.
        stuck: rows whose reader must take something first.
        stalled: rows whose reader has taken nothing for ``STALL_S``.
        drop: rows that nothing is sent to any more.
        look_again_s: when the first stuck row will have stalled; infinity when none is stuck.
    """

    send: tuple[int, ...]
    stuck: tuple[int, ...]
    stalled: tuple[int, ...]
    drop: tuple[int, ...]
    look_again_s: float


def next_step(waiting: Mapping[int, int], flows: Mapping[int, RowFlow], now_s: float) -> Step:
    """Decide about the next piece of every row that has one.

    Args:
        waiting: row -> bytes of its next piece, at most ``PIECE_BYTES``.
    """
    send, stuck, stalled, drop = [], [], [], []
    look_again_s = math.inf
    for row, byte_count in waiting.items():
        flow = flows[row]
        if not flow.is_open:
            drop.append(row)
        elif flow.untaken_bytes + byte_count <= STREAM_WINDOW_BYTES:
            send.append(row)
        elif now_s - flow.stuck_since_s >= STALL_S:
            stalled.append(row)
        else:
            stuck.append(row)
            look_again_s = min(look_again_s, min(flow.stuck_since_s, now_s) + STALL_S)
    return Step(tuple(send), tuple(stuck), tuple(stalled), tuple(drop), look_again_s)
