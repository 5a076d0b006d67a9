"""How a handler answers in pieces, while its batch still runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ts.context import Context
from ts.utils.util import PredictionException


class StreamCancelled(Exception):
    """Nobody waits for any row of the batch any more; a handler that lets it pass has ended in the right way."""


def send_intermediate_predict_response(
    ret: Sequence[Any] | Mapping[int, Any],
    req_id_map: Mapping[int, str],
    message: str,
    code: int,
    context: Context,
) -> None:
    """Give rows a further piece of their answers; what the handler returns in the end is the last piece.

    The first piece of a row takes status and header fields along as the context has them then. It returns when the
    pieces are on their way, which may be when a slow reader has taken some of those before.

    Args:
        ret: a piece for each row that is named, by its index.
        req_id_map: the rows, by their index in ``data``: ``context.request_ids`` for all.
        message: what a ``code`` other than 200 means; else unused, as in TorchServe.

    Raises:
        StreamCancelled: all callers of the batch have left.
        PredictionException: ``code`` is not 200.
    """
    if code != 200:
        raise PredictionException(message, code)
    if context.outlet is None:
        return
    if not context.outlet.send({index: ret[index] for index in req_id_map}):
        raise StreamCancelled("every caller of the batch has left")
