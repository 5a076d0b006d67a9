"""Answers in pieces, as a handler sees them."""

from __future__ import annotations

from typing import Any

import pytest
from ts.context import Context
from ts.handler_utils.utils import StreamCancelled
from ts.handler_utils.utils import send_intermediate_predict_response as send
from ts.protocol.otf_message_handler import send_intermediate_predict_response as send_by_its_older_name
from ts.utils.util import PredictionException


class Taker:
    """Takes pieces, and knows who has left."""

    def __init__(self, *gone: int) -> None:
        self.gone = gone
        self.sent: list[dict[int, Any]] = []

    def send(self, values: Any) -> bool:
        self.sent.append(dict(values))
        return not self.gone

    def is_cancelled(self, index: int) -> bool:
        return index in self.gone


def _context(taker: Taker | None) -> Context:
    context = Context("m", "/", {}, 8, None, "0")
    context.request_ids = {0: "a", 1: "b"}
    context.outlet = taker
    return context


def test_the_rows_that_are_named_get_their_pieces() -> None:
    taker = Taker()
    context = _context(taker)
    send(["x", "y"], context.request_ids, "message", 200, context)
    send_by_its_older_name({1: "z"}, {1: "b"}, "message", 200, context)
    assert taker.sent == [{0: "x", 1: "y"}, {1: "z"}]


def test_a_handler_is_told_who_has_left_and_stopped_when_nobody_is_left() -> None:
    context = _context(Taker(1))
    assert [context.is_cancelled(index) for index in (0, 1)] == [False, True]
    with pytest.raises(StreamCancelled):
        send(["x", "y"], context.request_ids, "message", 200, context)


def test_a_code_that_is_an_error_refuses_the_rows() -> None:
    context = _context(Taker())
    with pytest.raises(PredictionException) as raised:
        send(["x", "y"], context.request_ids, "not here", 404, context)
    assert (raised.value.message, raised.value.error_code) == ("not here", 404)


def test_outside_of_a_pod_pieces_go_nowhere_and_nobody_leaves() -> None:
    context = _context(None)
    send(["x", "y"], context.request_ids, "message", 200, context)
    assert not context.is_cancelled()
