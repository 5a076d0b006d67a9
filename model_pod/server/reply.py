"""The reply slot: one per request, held by the request, told exactly once, whatever happens to its batch-mates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from model_pod.protocols.exchange import RowOutput
from model_pod.wire.inference import StageTimes
from model_pod.wire.refusals import Refused


class Usage(NamedTuple):
    """What a request cost and where its time went; a request in several batches adds up.

    Attributes:
        device_us: microseconds that its rows are charged of its batches' device time.
        tokens: that the handler counted in its rows.
        batch_rows: rows of the largest batch it was in.
        queue_s: longest wait of one of its parts from arrival to the start of its batch.
        stages: of its batches, whole.
    """

    device_us: int = 0
    tokens: int = 0
    batch_rows: int = 0
    queue_s: float = 0.0
    stages: StageTimes = StageTimes()

    def plus(self, other: Usage) -> Usage:
        """Return both together."""
        return Usage(
            self.device_us + other.device_us,
            self.tokens + other.tokens,
            max(self.batch_rows, other.batch_rows),
            max(self.queue_s, other.queue_s),
            StageTimes(
                self.stages.preprocess_s + other.stages.preprocess_s,
                self.stages.inference_s + other.stages.inference_s,
                self.stages.postprocess_s + other.stages.postprocess_s,
            ),
        )


NOTHING_USED = Usage()


class Settled(NamedTuple):
    """How a request ended: one output per row, in order, or a refusal of the whole."""

    outputs: Sequence[RowOutput]
    usage: Usage
    refused: Refused | None = None


class Reply:
    """Gathers the parts of one request and tells its owner once.

    Args:
        part_count: how many queued parts the request was split into.
        on_settled: called once, unless the request is cancelled before.
    """

    __slots__ = ("_left", "_on_settled", "_parts", "_usage")

    def __init__(self, part_count: int, on_settled: Callable[[Settled], None]) -> None:
        self._parts: list[Sequence[RowOutput]] = [()] * part_count
        self._left = part_count
        self._usage = Usage()
        self._on_settled: Callable[[Settled], None] | None = on_settled

    @property
    def is_settled(self) -> bool:
        """Nobody waits for this reply any more."""
        return self._on_settled is None

    def resolve(self, part: int, outputs: Sequence[RowOutput], usage: Usage) -> None:
        """Fill in one part; a part that is filled already, or a settled reply, stays as it is."""
        if self.is_settled or self._parts[part]:
            return
        self._parts[part] = outputs
        self._usage = self._usage.plus(usage)
        self._left -= 1
        if self._left == 0:
            self._settle(Settled([output for filled in self._parts for output in filled], self._usage))

    def refuse(self, refused: Refused) -> None:
        """End the whole request with a refusal, unless it has ended already."""
        if not self.is_settled:
            self._settle(Settled((), self._usage, refused))

    def cancel(self) -> None:
        """The caller left; nothing will be told."""
        self._on_settled = None
        self._parts = []

    def _settle(self, settled: Settled) -> None:
        on_settled, self._on_settled = self._on_settled, None
        if on_settled:
            on_settled(settled)
