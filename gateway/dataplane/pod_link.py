"""The worker's end of the link: one connection to a pod for all its requests; see ``model_pod.wire.link``.

What is written in one turn of the loop goes out in one call, and what the pod wrote in one call comes in as one: the
system calls are shared by all requests that are under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import msgspec
from msgspec import Struct

from gateway.dataplane.client import Piece
from gateway.dataplane.defects import OnDefect, unheard
from gateway.dataplane.pod_heads import is_for_clients
from gateway.dataplane.upstream import Exchange, Receiver, connect, is_ours
from gateway.errors import CLIENT_GONE, PodBroke, PodFailed, PodUnreachable
from model_pod.wire import link
from model_pod.wire.http1.head import BODYLESS
from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    CREDIT_BYTES,
    DATA,
    LAST,
    LEAVING,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    RESET,
    WINDOW_BYTES,
    Buffer,
    FrameReader,
    PodAnswer,
    PodCharge,
    PodRequest,
    Reset,
    credit,
    credited,
    decode_answer,
    decode_charge,
    decode_reset,
    encode_head,
    frame,
    frame_header,
)
from model_pod.wire.refusals import REASONS

Soon = Callable[[Callable[[], None]], object]

_ANSWER_LAST, _DATA_LAST, _REQUEST_LAST = ANSWER | LAST, DATA | LAST, REQUEST | LAST
_LAST_STREAM = 2**32 - 1
# Of a stream that may be sent before the pod has said that it took any: so nothing larger delays the others.
_PIECE_BYTES = 16 * 1024
_GONE = encode_head(Reset(CLIENT_GONE))
# A link that has no byte acknowledged for so long is lost: both ends always read, and all requests to a pod share it.
_UNACKNOWLEDGED_S = 10.0


class LinkUpstream:
    """Exchanges with the pod at one address, over one link that is opened when it is needed.

    Args:
        on_lost: called when a link that stood is lost, though nothing said that it would be.
        on_defect: takes an exception that whoever got an answer ended with; the link's other requests go on.
        soon: calls at the end of the turn in which ``send_whole`` is used; None leaves that to the loop.
    """

    def __init__(
        self,
        address: str,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[], None],
        on_defect: OnDefect = unheard,
        soon: Soon | None = None,
    ) -> None:
        self._address = address
        self._soon = soon or loop.call_soon
        self._on_lost = on_lost
        self._on_defect = on_defect
        self._loop = loop
        self._link: _Link | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    def open(self, request: PodRequest, body: Sequence[Piece], receiver: Receiver, *, is_whole: bool) -> Exchange:
        """Begin an exchange with what there is of the request's body."""
        link = self._link
        if link is None or not link.takes_new:
            link = self._open_link()
        return link.open(request, body, receiver, is_whole)

    def _open_link(self) -> _Link:
        link = self._link = _Link(self._loop, self._on_lost, self._on_defect, self._soon)
        task = self._loop.create_task(self._connect(link))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        return link

    def send_whole(self, head: bytes, body: bytes, receiver: Receiver) -> LinkExchange:
        """Begin an exchange with all of its request, which is no HEAD; return the stream, whose receiver may change.

        Args:
            head: the ``PodRequest``, encoded.
            body: ``WINDOW_BYTES`` at most.
        """
        link = self._link
        if link is None or not link.takes_new:
            link = self._open_link()
        return link.send_whole(head, body, receiver)

    @property
    def is_linked(self) -> bool:
        """Whether the link is open."""
        return self._link is not None and self._link.is_connected and self._link.takes_new

    def close(self) -> None:
        """Begin nothing new on the link; it closes when its last exchange is over."""
        if self._link is not None:
            self._link.leave()

    async def _connect(self, link: _Link) -> None:
        try:
            await connect(self._address, self._loop, link, unacknowledged_s=_UNACKNOWLEDGED_S)
        except Exception as error:  # a bad address too: whatever it is, the requests must not wait for ever
            if link.is_connected:  # it stood just when its time was over, and the requests are on their way
                link.fail(PodBroke("the connection came too late"))
                return
            link.fail(PodUnreachable(f"no connection to the pod: {error}", is_pods_fault=not is_ours(error)))


class LinkExchange(Struct, eq=False):
    """One exchange on a link, a stream of frames; a struct, since there is one for each request.

    Attributes:
        receiver: who gets the answer; None once it has the end of it.
        room_bytes: of the request's body that may be sent now.
        is_whole: the request is, though some of it may wait here.
    """

    _link: _Link
    number: int
    receiver: Receiver | None
    is_whole: bool
    room_bytes: int
    _unsent: deque[Piece] | None = None  # what waits for the pod to take what was sent
    _is_held: bool = False
    _ahead_bytes: int = 0  # of the answer that the pod has not been credited for
    has_answered: bool = False  # with a head, of which there is one
    is_bodyless: bool = False  # the answer has no body

    # --- the request, as the one who forwards sees it

    @property
    def has_begun(self) -> bool:
        return self._link.is_connected

    def begin(self, request: PodRequest, body: Sequence[Piece], is_whole: bool) -> None:
        head = encode_head(request)
        self.is_bodyless = request.method == "HEAD"
        if is_whole and (body_bytes := sum(map(len, body))) <= WINDOW_BYTES:
            self.is_whole = True
            self.room_bytes -= body_bytes
            self._link.write(frame(_REQUEST_LAST, self.number, head, b"".join(body) if body else b""))
            return
        self._link.write(frame(REQUEST, self.number, head))
        for piece in body:
            self.send(piece)
        if is_whole:
            self.finish()

    def send(self, piece: Piece) -> None:
        if self.receiver is None:
            return  # the pod has answered already, and reads no more
        if self._unsent is not None or len(piece) > min(self.room_bytes, _PIECE_BYTES):
            self._queue(piece)
            return
        self.room_bytes -= len(piece)
        self._link.write(frame(DATA, self.number, b"", piece))

    def finish(self) -> None:
        self.is_whole = True
        if self._unsent is None and self.receiver is not None:
            self._link.write(frame(_DATA_LAST, self.number))

    def cancel(self) -> None:
        if self.receiver is not None:
            self.receiver = None
            self._unsent = None
            self._link.forget(self)
            self._link.write(frame(RESET, self.number, _GONE))

    def hold(self, held: bool) -> None:
        self._is_held = held
        if not held:
            self._credit()

    def _queue(self, piece: Piece) -> None:
        view = memoryview(piece)
        if self._unsent is None:
            self._unsent = deque()
        self._unsent.extend(view[at : at + _PIECE_BYTES] for at in range(0, len(view), _PIECE_BYTES))
        self._push()
        if self._unsent and self.receiver is not None:
            self.receiver.on_room(False)

    def _push(self) -> None:
        unsent = self._unsent
        while unsent and len(unsent[0]) <= self.room_bytes:
            piece = unsent.popleft()
            self.room_bytes -= len(piece)
            is_last = self.is_whole and not unsent
            self._link.write(frame(_DATA_LAST if is_last else DATA, self.number, b"", piece))
        if not unsent:
            self._unsent = None

    # --- the answer, as the link sees it

    def on_credit(self, byte_count: int) -> None:
        self.room_bytes += byte_count
        if self.room_bytes > WINDOW_BYTES:
            raise link.BadLink("the pod credits more than it was sent")
        if self._unsent is not None:
            self._push()
            if self._unsent is None and self.receiver is not None:
                self.receiver.on_room(True)

    def on_head(self, answer: PodAnswer) -> None:
        if self.has_answered:
            raise link.BadLink("the pod answers a request twice")
        self.has_answered = True
        if answer.status in BODYLESS:
            self.is_bodyless = True
        if self.receiver is not None:
            self.receiver.on_head(answer)

    def on_data(self, body: bytes) -> None:
        if not self.has_answered or (body and self.is_bodyless):
            raise link.BadLink("the pod sends a body where there is none")
        self._ahead_bytes += len(body)
        if self._ahead_bytes > WINDOW_BYTES:
            raise link.BadLink("the pod sends more than it was let")
        if self.receiver is not None and body:
            self.receiver.on_data(body)
        if self.receiver is not None and not self._is_held:  # it may have been cancelled just now
            self._credit()

    def _credit(self) -> None:
        if self._ahead_bytes >= CREDIT_BYTES:
            self._link.write([credit(self.number, self._ahead_bytes)])
            self._ahead_bytes = 0

    def end(self) -> Receiver | None:
        """Let go of the receiver, who is told the end now."""
        receiver, self.receiver, self._unsent = self.receiver, None, None
        return receiver


class _Link(asyncio.Protocol):
    """One connection to a pod.

    Attributes:
        takes_new: another exchange may begin on it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_lost: Callable[[], None],
        on_defect: OnDefect = unheard,
        soon: Soon | None = None,
    ) -> None:
        self._on_defect = on_defect
        self._soon = soon or loop.call_soon
        self.takes_new = True
        self._loop = loop
        self._on_lost = on_lost
        self._is_left = False
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, LinkExchange] = {}
        self._next_number = 1
        self._written_number = 0  # the last stream of which anything may have reached the pod
        self._out: list[Buffer] = [PREFACE]
        self._is_flushing = True  # it is as long as there is no connection
        self._reader = FrameReader()
        self._greeting = b""
        self._has_failed = False

    @property
    def is_connected(self) -> bool:
        """What is written is sent."""
        return self._transport is not None

    def open(self, request: PodRequest, body: Sequence[Piece], receiver: Receiver, is_whole: bool) -> Exchange:
        stream = self._new_stream(receiver, False, WINDOW_BYTES)
        stream.begin(request, body, is_whole)
        return stream

    def send_whole(self, head: bytes, body: bytes, receiver: Receiver) -> LinkExchange:
        head_bytes, body_bytes = len(head), len(body)
        stream = self._new_stream(receiver, True, WINDOW_BYTES - body_bytes)
        self._out += (frame_header(head_bytes + body_bytes, stream.number, head_bytes, _REQUEST_LAST), head, body)
        if not self._is_flushing:
            self._is_flushing = True
            self._soon(self._flush)
        return stream

    def _new_stream(self, receiver: Receiver, is_whole: bool, room_bytes: int) -> LinkExchange:
        number = self._next_number
        self._next_number = number + 1
        if number >= _LAST_STREAM - 1:
            self.takes_new = False
        stream = self._streams[number] = LinkExchange(self, number, receiver, is_whole, room_bytes)
        return stream

    def forget(self, stream: LinkExchange) -> None:
        self._streams.pop(stream.number, None)
        self._close_when_done()

    def leave(self) -> None:
        """Begin nothing new here."""
        self.takes_new = False
        self._is_left = True
        self._close_when_done()

    def write(self, pieces: list[Buffer]) -> None:
        """Send in this turn of the loop."""
        self._out += pieces
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flushing = False
        out, self._out = self._out, []
        if self._transport is None or self._transport.is_closing():
            self.takes_new = False  # what was to be written is told when the connection's end is
            return
        self._written_number = self._next_number - 1
        self._transport.write(b"".join(out))

    def _close_when_done(self) -> None:
        if not self.takes_new and not self._streams and self._transport is not None:
            self._flush()
            self._transport.close()

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._has_failed:  # its requests have gone elsewhere meanwhile
            self._transport.abort()
            return
        self._flush()
        self._close_when_done()

    def data_received(self, data: bytes) -> None:
        try:
            if len(self._greeting) < len(PREFACE):
                data = self._greet(data)
            streams = self._streams
            for kind, number, head, body in self._reader.feed(data):
                stream = streams.get(number)
                if kind == _ANSWER_LAST and stream is not None:
                    answer = _answer(head)  # before the stream is forgotten: it is told if this is no answer
                    if (
                        answer.content_length != len(body)
                        or stream.has_answered
                        or stream.is_bodyless
                        or answer.status in BODYLESS
                    ):
                        _check_whole(stream, answer, len(body))
                    del streams[number]
                    receiver, stream.receiver = stream.receiver, None
                    if receiver is not None:
                        try:
                            receiver.on_answer(answer, body)
                        except Exception as defect:  # the others that came with it are still to be told
                            self._on_defect("a pod's answer", defect)
                else:
                    self._on_frame(kind, number, stream, head, body)
            if not self.takes_new:
                self._close_when_done()
        except (link.BadLink, msgspec.MsgspecError) as error:
            self.fail(PodBroke(f"the pod's link cannot be read: {error}", "pod_bad_answer"))

    def _greet(self, data: bytes) -> bytes:
        missing = len(PREFACE) - len(self._greeting)
        self._greeting += data[:missing]
        if not PREFACE.startswith(self._greeting):
            raise link.BadLink("the pod does not speak the link")
        return data[missing:]

    def _on_frame(self, kind: int, number: int, stream: LinkExchange | None, head: bytes, body: bytes) -> None:
        if kind == LEAVING:
            self.leave()
        elif stream is None or stream.receiver is None:
            return  # it was cancelled, and this was on its way
        elif kind == ANSWER:
            stream.on_head(_answer(head))
            stream.on_data(body)
        elif kind in (DATA, _DATA_LAST):
            stream.on_data(body)
            if kind == _DATA_LAST:
                self._end(stream, decode_charge(head) if head else None)
        elif kind == CREDIT:
            stream.on_credit(credited(head))
        elif kind == RESET:
            self._reset(stream, decode_reset(head))
        else:
            raise link.BadLink(f"a frame of kind {kind}")

    def _end(self, stream: LinkExchange, charge: PodCharge | None) -> None:
        receiver = stream.end()
        self.forget(stream)
        if receiver is not None:
            receiver.on_end(charge)

    def _reset(self, stream: LinkExchange, reset: Reset) -> None:
        receiver = stream.end()
        self.forget(stream)
        if receiver is None:
            return
        if reset.has_run:
            charge = PodCharge(reset.device_us, reset.tokens) if reset.device_us != NOT_TOLD else None
            receiver.on_failed(PodBroke("the pod ended the request", _reason_of(reset), charge))
        else:
            is_leaving = reset.reason == "pod_draining"
            receiver.on_failed(
                PodUnreachable(
                    "the pod did not take the request", is_pods_fault=False, has_refused=True, is_leaving=is_leaving
                )
            )

    def fail(self, error: PodFailed) -> None:
        """End every exchange; those of which nothing was written may go elsewhere."""
        self.takes_new = False
        self._has_failed = True
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()
        streams, self._streams = self._streams, {}
        unwritten: PodFailed | None = None
        for stream in streams.values():
            told = error
            if not isinstance(error, PodUnreachable) and stream.number > self._written_number:
                # Behind those that were written: one loss of a link is one failure of the pod.
                told = unwritten = unwritten or PodUnreachable(
                    "the pod's link was lost", is_pods_fault=not error.is_counted
                )
            receiver = stream.end()
            try:
                if receiver is not None:
                    receiver.on_failed(told)
            except Exception as defect:  # whatever becomes of one request, the others are told
                self._on_defect("the loss of a link", defect)

    def eof_received(self) -> None:
        self.takes_new = False  # a request that came before the connection's end is told would be lost

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_left and not self._has_failed:
            self._on_lost()  # before the requests are told: those that go elsewhere should not come back here
        self.fail(PodBroke("the pod closed the link before its answer was whole"))


def _answer(head: bytes) -> PodAnswer:
    answer = decode_answer(head)
    if not is_for_clients(answer) or not 200 <= answer.status <= 599 or answer.content_length < NOT_TOLD:
        raise link.BadLink("the head of an answer holds what no pod may say")
    if answer.reason and (answer.status < 400 or answer.reason not in REASONS):
        return msgspec.structs.replace(answer, reason="")
    return answer


def _check_whole(stream: LinkExchange, answer: PodAnswer, body_bytes: int) -> None:
    """Look closely at an answer in one frame that does not show at a glance to be one."""
    if stream.has_answered:
        raise link.BadLink("the pod answers a request twice")
    if stream.is_bodyless or answer.status in BODYLESS:
        if body_bytes:
            raise link.BadLink("the pod sends a body where there is none")
    elif answer.content_length not in (body_bytes, NOT_TOLD):
        raise link.BadLink("the pod's answer does not end where its length says")


def _reason_of(reset: Reset) -> str:
    """Return why a pod ended a request that may have run: by a reason of pods, and none that lets it be sent again."""
    reason = REASONS.get(reset.reason)
    if reset.reason == "deadline_exceeded":
        return "deadline_exceeded_running"
    return reason.name if reason is not None and not reason.retryable else "pod_lost"
