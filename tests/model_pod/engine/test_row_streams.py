"""Pieces over a true socketpair: who is behind, who has stalled, who has left, and what the others get."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from model_pod.engine.conversation import Conversation
from model_pod.engine.row_flow import STALL_S
from model_pod.engine.row_streams import STALLED, Outgoing, RowStreams
from model_pod.wire import frames
from model_pod.wire.inference import (
    PIECE_BYTES,
    STREAM_WINDOW_BYTES,
    Cut,
    FromInference,
    Gone,
    Partial,
    Run,
    Taken,
)
from model_pod.wire.rows import RowAnswer

BATCH = 7
HEAD = RowAnswer(content_type="text/plain")


@dataclass
class Server:
    """The other end of the socketpair, and what it got for each row."""

    end: socket.socket
    got: dict[int, list[bytes]] = field(default_factory=dict)
    heads: dict[int, RowAnswer] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)

    def say(self, *messages: msgspec.Struct) -> None:
        """Send orders and words about rows."""
        for message in messages:
            self.end.sendall(b"".join(frames.encode(message)))

    def hear(self) -> None:
        """Take in what has come."""
        decoder: frames.FrameDecoder[FromInference] = frames.FrameDecoder(FromInference)  # type: ignore[arg-type]
        try:
            while data := self.end.recv(2**20, socket.MSG_DONTWAIT):
                for message, blobs in decoder.feed(data):
                    self._on_message(message, blobs)
        except BlockingIOError:
            return

    def _on_message(self, message: FromInference, blobs: list[memoryview]) -> None:
        if isinstance(message, Cut):
            self.cuts.append(message)
            return
        assert isinstance(message, Partial)
        for piece in message.pieces:
            self.got.setdefault(piece.row, []).append(bytes(blobs[piece.blob]))
            if piece.head is not None:
                assert piece.head.blob == piece.blob
                self.heads[piece.row] = piece.head

    def body(self, row: int) -> bytes:
        """Return all that a row got."""
        return b"".join(self.got.get(row, []))


@contextmanager
def streaming(clock: Callable[[], float] = lambda: 0.0) -> Iterator[tuple[Server, RowStreams, Conversation]]:
    """Run a batch between two ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        conversation = Conversation(theirs)
        with RowStreams(BATCH, conversation, clock) as streams:
            yield Server(ours), streams, conversation


def test_each_row_gets_its_pieces_in_order_and_a_head_with_the_first() -> None:
    with streaming() as (server, streams, _):
        streams.send({0: Outgoing(b"a", HEAD), 2: Outgoing(b"", HEAD)})
        streams.send({2: Outgoing(b"c"), 0: Outgoing(b"")})
        server.hear()
    assert server.got == {0: [b"a"], 2: [b"", b"c"]}
    assert set(server.heads) == {0, 2}


def test_a_large_piece_is_divided_and_waits_for_its_reader() -> None:
    content = bytes(range(256)) * 1024  # four windows
    with streaming() as (server, streams, _):
        credit = content[STREAM_WINDOW_BYTES:]
        server.say(*(Taken(BATCH, 0, PIECE_BYTES) for _ in range(len(credit) // PIECE_BYTES)))
        streams.send({0: Outgoing(content, HEAD)})
        server.hear()
    assert server.body(0) == content
    assert {len(piece) for piece in server.got[0]} == {PIECE_BYTES}


def test_a_reader_that_stalls_is_cut_and_the_others_get_everything() -> None:
    moments = itertools.count(0.0, STALL_S / 2)
    content = b"x" * (STREAM_WINDOW_BYTES + 1)
    with streaming(lambda: next(moments)) as (server, streams, _):
        server.say(Taken(BATCH, 1, PIECE_BYTES), Taken(BATCH, 1, PIECE_BYTES))
        streams.send({0: Outgoing(content, HEAD), 1: Outgoing(content, HEAD)})
        server.hear()
        assert (streams.is_open(0), streams.is_open(1)) == (False, True)
        assert server.cuts == [Cut(BATCH, 0, "reader_too_slow", STALLED)]
        streams.send({0: Outgoing(b"more"), 1: Outgoing(b"more")})
        server.hear()
    assert len(server.body(0)) == STREAM_WINDOW_BYTES
    assert server.body(1) == content + b"more"


def test_pieces_for_callers_who_have_left_are_dropped_and_free_the_handler() -> None:
    with streaming() as (server, streams, _):
        streams.send({0: Outgoing(b"x" * STREAM_WINDOW_BYTES, HEAD), 1: Outgoing(b"b", HEAD)})
        server.say(Gone(BATCH, (0,)))
        streams.send({0: Outgoing(b"lost"), 1: Outgoing(b"c")})
        server.hear()
        assert not streams.is_open(0)
    assert (len(server.body(0)), server.body(1)) == (STREAM_WINDOW_BYTES, b"bc")


def test_who_left_before_the_batch_began_is_known_when_it_does() -> None:
    with streaming() as (server, streams, conversation):
        server.say(Run(BATCH + 1, ()), Gone(BATCH + 1, (3,)), Gone(BATCH + 1, (1, 2)), Gone(BATCH - 1, (0,)))
        streams.look()
        assert streams.is_open(0)
        order = conversation.next_order()
        assert order is not None
        assert order[0] == Run(BATCH + 1, ())
        with RowStreams(BATCH + 1, conversation) as following:
            assert [following.is_open(row) for row in range(5)] == [True, False, False, False, True]
        with RowStreams(BATCH + 2, conversation) as last:
            assert last.is_open(1)


def test_what_a_thread_sends_after_its_batch_goes_nowhere() -> None:
    with streaming() as (server, streams, conversation):
        streams.__exit__()
        streams.send({0: Outgoing(b"late", HEAD)})
        assert not streams.is_open(0)
        with RowStreams(BATCH + 1, conversation) as following:
            server.say(Taken(BATCH, 0, 10), Gone(BATCH, (0,)))
            following.look()
            assert following.is_open(0)
        server.hear()
    assert server.got == {}


def test_nobody_is_left_when_the_server_is_gone() -> None:
    with streaming() as (server, streams, conversation):
        server.end.close()
        streams.look()
        assert not streams.is_open(0)
        streams.send({0: Outgoing(b"x", HEAD)})
        assert conversation.next_order() is None
