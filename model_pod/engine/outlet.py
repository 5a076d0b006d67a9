"""What a handler's context gives pieces to: values become bytes with a head, and places in a run rows of the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ts.context import RequestProcessor

from model_pod.engine.outputs import encode_body, stream_head
from model_pod.engine.row_streams import Outgoing, RowStreams
from model_pod.wire.rows import Row


class RunOutlet:
    """One call of a handler with some rows of a batch.

    Args:
        places: position in the batch of each row of the run.
    """

    def __init__(
        self,
        streams: RowStreams,
        places: Sequence[int],
        rows: Sequence[Row],
        processors: Sequence[RequestProcessor],
    ) -> None:
        self._streams = streams
        self._places = places
        self._rows = rows
        self._processors = processors

    def send(self, values: Mapping[int, Any]) -> bool:
        """Send a piece to rows of the run; return whether anybody is left in it.

        Rows of tensors have one answer, which is made at the end, so that their pieces go nowhere.

        Raises:
            BadOutput: what the handler has set cannot be sent.
        """
        self._streams.look()
        pieces = {
            self._places[index]: self._outgoing(index, value)
            for index, value in values.items()
            if not self._rows[index].tensors and self._streams.is_open(self._places[index])
        }
        self._streams.send(pieces)
        return any(self._streams.is_open(place) for place in self._places)

    def send_last(self, answers: Sequence[Any]) -> list[Any]:
        """Send what was returned for the rows that stream; return the answers with nothing left of theirs.

        So the last piece waits for a slow reader as the others do. One that cannot be sent is left where it is.
        """
        left = list(answers)  # the handler may keep its own
        last: dict[int, Outgoing] = {}
        for index, place in enumerate(self._places):
            if self._streams.has_begun(place):
                with suppress(BaseException):  # answering refuses the row for the same reason
                    last[place] = Outgoing(encode_body(left[index]))
                    left[index] = b""
        if last:
            self._streams.send(last)
        return left

    def is_cancelled(self, index: int) -> bool:
        """Whether nobody waits for this row any more."""
        self._streams.look()
        return not self._streams.is_open(self._places[index])

    def _outgoing(self, index: int, value: object) -> Outgoing:
        has_begun = self._streams.has_begun(self._places[index])
        return Outgoing(encode_body(value), None if has_begun else stream_head(self._processors[index]))
