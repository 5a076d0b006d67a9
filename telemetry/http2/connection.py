"""One HTTP/2 connection as its server keeps it: frames in, events out, and what to write. No socket, no clock.

Bounds: 100 streams, 16 KiB of fields and 16 frames for a request's head, 64 KiB of each request's body; what costs us
work and asks for nothing is paid from budgets (``budgets``). A peer that breaks the protocol on a stream loses the
stream, else the connection; one that leaves a budget is told to calm down: what runs is answered, nothing new begins.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from telemetry.http2 import frames
from telemetry.http2.budgets import CONTROL_FRAMES, RESETS, Budget, Ratios
from telemetry.http2.fields import Head, check_trailers, request_head
from telemetry.http2.frames import (
    MAX_FRAME_BYTES,
    MAX_WINDOW_BYTES,
    PREFACE,
    USUAL_WINDOW_BYTES,
    Code,
    ConnectionBroken,
    Frame,
    FrameReader,
    StreamBroken,
)
from telemetry.http2.header_blocks import MAX_HEADER_LIST_BYTES, HeaderBlocks
from telemetry.http2.windows import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, ConnectionWindow, Stream

MAX_STREAMS = 100
# A head of 16 KiB is one frame; a peer that takes many for it means us no good.
_MAX_HEAD_FRAMES = 16
_PEER_FRAME_BYTES = range(MAX_FRAME_BYTES, 2**24)
_PRIORITY_BYTES = 5

Piece = bytes | memoryview


class Begun(Struct, frozen=True, gc=False):
    """A request has begun; ``ends``: it has no body."""

    stream: int
    head: Head
    ends: bool


class Body(Struct, frozen=True, gc=False):
    """Some of a request's body came; to be credited when it is taken. ``ends``: it is whole."""

    stream: int
    data: bytes
    ends: bool


class Gone(Struct, frozen=True, gc=False):
    """The stream has ended before its answer was whole: nobody waits for it any more."""

    stream: int


class Room(Struct, frozen=True, gc=False):
    """All that was to be sent on the stream has gone, after some had to wait."""

    stream: int


class Answered(Struct, frozen=True, gc=False):
    """A PING of ours came back."""


Event = Begun | Body | Gone | Room | Answered


class Http2Connection:
    """The server's half of one connection.

    Attributes:
        streams: those whose answer is not whole.
        refuses: nothing new begins (GOAWAY was sent); what runs goes on.
        greeted: the preface and the first SETTINGS have come.
        is_blocked: nothing of an answer's body is written, because the socket takes no more.
    """

    def __init__(self, now_s: float) -> None:
        self.streams: dict[int, Stream] = {}
        self.refuses = False
        self.greeted = False
        self.is_blocked = False
        self._reader = FrameReader()
        self._blocks = HeaderBlocks()
        self._preface = b""
        self._last_stream = 0
        self._last_taken = MAX_WINDOW_BYTES  # by GOAWAY: streams above it are none of ours
        self._head: tuple[int, int, list[bytes]] | None = None  # stream, flags and pieces of a head under way
        self._window = ConnectionWindow(USUAL_WINDOW_BYTES)
        self._peer_window_bytes = USUAL_WINDOW_BYTES
        self._peer_frame_bytes = MAX_FRAME_BYTES
        self._waiting: dict[int, Stream] = {}  # have something to send, in the order of their turns
        self._resets = Budget(RESETS, now_s)
        self._control = Budget(CONTROL_FRAMES, now_s)
        self._ratios = Ratios()
        self._now_s = now_s
        self._events: list[Event] = []
        self._out: list[Piece] = [
            frames.settings_frame(
                {
                    frames.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                    frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                    frames.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES,
                }
            ),
            frames.window_update(0, CONNECTION_WINDOW_BYTES - USUAL_WINDOW_BYTES),
        ]

    def take_output(self) -> list[Piece]:
        """Return what is to be written now."""
        out, self._out = self._out, []
        return out

    def take_events(self) -> list[Event]:
        """Return what has happened since the last time."""
        events, self._events = self._events, []
        return events

    # --- what comes

    def receive(self, data: bytes, now_s: float) -> None:
        """Take what the socket gave; see ``take_events``.

        Raises:
            ConnectionBroken: after GOAWAY was put among what is to be written.
        """
        self._now_s = now_s
        try:
            for frame in self._reader.feed(self._after_preface(data)):
                self._on_frame(frame)
        except ConnectionBroken as broken:
            self._out.append(frames.go_away(self._last_stream, broken.code, str(broken)))
            raise

    def _after_preface(self, data: bytes) -> bytes:
        if len(self._preface) == len(PREFACE):
            return data
        missing = len(PREFACE) - len(self._preface)
        self._preface += data[:missing]
        if not PREFACE.startswith(self._preface):
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "the connection does not begin with HTTP/2's preface")
        return data[missing:]

    def _on_frame(self, frame: Frame) -> None:
        kind, flags, stream, payload = frame
        if self._head is not None and (kind != frames.CONTINUATION or stream != self._head[0]):
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a header block is interrupted")
        if not self.greeted:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionBroken(Code.PROTOCOL_ERROR, "the first frame is not SETTINGS")
            self.greeted = True
        handle = _HANDLERS.get(kind)
        if handle is None:
            self._spend_control()  # RFC 9113 4.1: unknown frames are ignored, but reading them costs
            return
        try:
            handle(self, flags, stream, payload)
        except StreamBroken as broken:
            self._spend_reset()
            self.reset(stream, broken.code)
            self._events.append(Gone(stream))

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        self._require_begun(number)
        if told := self._window.receive(len(payload)):
            self._out.append(frames.window_update(0, told))
        data = frames.unpadded(flags, payload)
        ends = bool(flags & frames.END_STREAM)
        if not data and not ends:
            self._spend_control()
        stream = self.streams.get(number)
        if stream is None:  # reset by us, or answered early; what was on its way is dropped
            self._spend_control()
            return
        if stream.peer_ended:
            raise StreamBroken(Code.STREAM_CLOSED, "DATA after the end of the request")
        stream.receive(len(payload), len(data))
        if ends:
            stream.end_of_request()
        elif len(payload) > len(data):
            self.credit(number, len(payload) - len(data))
        self._events.append(Body(number, data, ends))

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a client's streams have odd numbers")
        block = frames.unpadded(flags, payload)
        if flags & frames.HAS_PRIORITY:
            if len(block) < _PRIORITY_BYTES:
                raise ConnectionBroken(Code.FRAME_SIZE_ERROR, "HEADERS is shorter than its priority")
            block = block[_PRIORITY_BYTES:]
        if flags & frames.END_HEADERS:
            self._on_block(number, flags, block)
        else:
            self._head = (number, flags, [block])

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._head is None:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        _, first_flags, pieces = self._head
        pieces.append(payload)
        if len(pieces) > _MAX_HEAD_FRAMES or sum(map(len, pieces)) > MAX_HEADER_LIST_BYTES:
            raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, "a header block is over the limit")
        if flags & frames.END_HEADERS:
            self._head = None
            self._on_block(number, first_flags, b"".join(pieces))

    def _on_block(self, number: int, flags: int, block: bytes) -> None:
        fields = self._blocks.decode(block)  # always: the blocks to come build on it
        ends = bool(flags & frames.END_STREAM)
        if number <= self._last_stream:
            self._on_trailers(number, ends, fields)
            return
        self._last_stream = number
        if number > self._last_taken:
            return  # begun before our GOAWAY reached the peer, which knows by it that this one was not taken
        if self.refuses or len(self.streams) >= MAX_STREAMS:
            self._spend_reset()
            self._out.append(frames.rst_stream(number, Code.REFUSED_STREAM))
            return
        head = request_head(fields)
        if ends and head.content_length > 0:
            raise StreamBroken(Code.PROTOCOL_ERROR, "the body is shorter than content-length says")
        stream = Stream(number, head.content_length, self._peer_window_bytes)
        stream.peer_ended = ends
        self.streams[number] = stream
        self._ratios.streams += 1
        self._events.append(Begun(number, head, ends))

    def _on_trailers(self, number: int, ends: bool, fields: list[tuple[bytes, bytes]]) -> None:
        stream = self.streams.get(number)
        if stream is None:
            self._spend_reset()  # trailers of one that we ended are well meant; any number of them is not
            return
        if not ends or stream.peer_ended:
            raise StreamBroken(Code.PROTOCOL_ERROR, "a second head on a stream")
        check_trailers(fields)
        stream.end_of_request()
        self._events.append(Body(number, b"", True))

    def _on_rst_stream(self, _: int, number: int, payload: bytes) -> None:
        frames.read_u32(payload, "RST_STREAM")
        self._require_begun(number)
        if self._forget(number) is not None:
            self._events.append(Gone(number))
            self._spend_reset()
        else:
            self._spend_control()

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        self._spend_control()
        if flags & frames.ACK:
            if payload:
                raise ConnectionBroken(Code.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS that sets something")
            return
        for name, value in frames.read_settings(payload):
            self._set(name, value)
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))

    def _set(self, name: int, value: int) -> None:
        if name == frames.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW_BYTES:
                raise ConnectionBroken(Code.FLOW_CONTROL_ERROR, "a window is over 2^31 - 1")
            more, self._peer_window_bytes = value - self._peer_window_bytes, value
            for stream in self.streams.values():
                stream.room += more
                if stream.room > MAX_WINDOW_BYTES:
                    raise ConnectionBroken(Code.FLOW_CONTROL_ERROR, "a window is over 2^31 - 1")
            self.send_waiting()
        elif name == frames.MAX_FRAME_SIZE:
            if value not in _PEER_FRAME_BYTES:
                raise ConnectionBroken(Code.PROTOCOL_ERROR, "a largest frame that no peer may have")
        elif name == frames.ENABLE_PUSH and value > 1:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH is neither 0 nor 1")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number or len(payload) != 8:
            code = Code.PROTOCOL_ERROR if number else Code.FRAME_SIZE_ERROR
            raise ConnectionBroken(code, "PING is eight bytes, on no stream")
        if flags & frames.ACK:
            self._events.append(Answered())
        else:
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
        self._spend_control()

    def _on_go_away(self, _: int, number: int, payload: bytes) -> None:
        if number or len(payload) < 8:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "GOAWAY is eight bytes or more, on no stream")
        self._spend_control()  # the peer will begin nothing new, and what it began it wants to have answered

    def _on_window_update(self, _: int, number: int, payload: bytes) -> None:
        more = frames.read_u32(payload, "WINDOW_UPDATE") & MAX_WINDOW_BYTES
        if not self._ratios.update():
            self._calm_down("WINDOW_UPDATE is sent more often than there is cause for")
        if not number:
            self._window.grow(more)
            self.send_waiting()
            return
        self._require_begun(number)
        if stream := self.streams.get(number):
            stream.grow(more)
            self._send_turn_by_turn([stream])

    def _on_priority(self, _: int, number: int, payload: bytes) -> None:
        if not number or len(payload) != _PRIORITY_BYTES:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "PRIORITY is five bytes, on a stream")
        if not self._ratios.priority():
            self._calm_down("PRIORITY is sent more often than there is cause for")

    def _on_push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionBroken(Code.PROTOCOL_ERROR, "a client promises nothing")

    def _require_begun(self, number: int) -> None:
        if not number or not number & 1 or number > self._last_stream:
            raise ConnectionBroken(Code.PROTOCOL_ERROR, "a frame on a stream that has not begun")

    # --- bounds

    def _spend_reset(self) -> None:
        if not self._resets.spend(self._now_s):
            self._calm_down(f"over {RESETS} streams were reset within ten seconds")

    def _spend_control(self) -> None:
        if not self._control.spend(self._now_s):
            raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, "frames that ask for nothing come too often")

    def _calm_down(self, message: str) -> None:
        """Begin nothing new; a peer that goes on as before is cut off."""
        if self.refuses:
            raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, message)
        self.go_away(Code.ENHANCE_YOUR_CALM, message)

    # --- what goes

    def head(self, number: int, block: bytes, *, ends: bool = False) -> None:
        """Send an answer's head, which ends it where it has neither body nor trailers."""
        stream = self.streams[number]
        self._out.append(frames.header_frames(number, block, self._peer_frame_bytes, ends=ends))
        if ends:
            self._end(stream)

    def body(self, number: int, piece: Piece) -> None:
        """Send some of an answer's body, or keep it until there is room; ``Stream.unsent_bytes`` says what waits."""
        stream = self.streams[number]
        size = len(piece)
        if not self._waiting and size <= stream.room and size <= self._window.room and not self.is_blocked:
            self._put(stream, memoryview(piece))
            return
        stream.unsent.append(memoryview(bytes(piece)))
        stream.unsent_bytes += size
        self._waiting[number] = stream
        self.send_waiting()

    def trailers(self, number: int, block: bytes) -> None:
        """End an answer by these fields."""
        stream = self.streams[number]
        if stream.unsent_bytes:
            stream.trailers = block
            return
        self._out.append(frames.header_frames(number, block, self._peer_frame_bytes, ends=True))
        self._end(stream)

    def end(self, number: int) -> None:
        """End an answer without trailers."""
        stream = self.streams[number]
        stream.ends_plainly = True
        if not stream.unsent_bytes:
            self._out.append(frames.frame(frames.DATA, frames.END_STREAM, number))
            self._end(stream)

    def reset(self, number: int, code: Code) -> None:
        """End a stream at once."""
        self._forget(number)
        self._out.append(frames.rst_stream(number, code))

    def credit(self, number: int, taken_bytes: int) -> None:
        """Let the peer send so much more of a request's body."""
        stream = self.streams.get(number)
        if stream is not None and (told := stream.credit(taken_bytes)):
            self._out.append(frames.window_update(number, told))

    def ping(self) -> None:
        """Ask whether the peer is still there."""
        self._out.append(frames.frame(frames.PING, 0, 0, b"penstock"))

    def warn_of_leaving(self) -> None:
        """Say that a GOAWAY will come, so that what is on its way to us is still taken."""
        self._out.append(frames.go_away(MAX_WINDOW_BYTES, Code.NO_ERROR))

    def go_away(self, code: Code = Code.NO_ERROR, said: str = "") -> None:
        """Begin nothing new from now on."""
        self.refuses = True
        self._last_taken = self._last_stream
        self._out.append(frames.go_away(self._last_stream, code, said))

    def send_waiting(self) -> None:
        """Send what waited for a window, or for the socket: a frame of each stream in turn."""
        self._send_turn_by_turn(list(self._waiting.values()))

    def _send_turn_by_turn(self, streams: Sequence[Stream]) -> None:
        while streams and self._window.room > 0 and not self.is_blocked:
            streams = [stream for stream in streams if stream.number in self._waiting and self._send_one(stream)]

    def _send_one(self, stream: Stream) -> bool:
        """Send at most one frame; return whether the stream could send more at once."""
        if stream.room <= 0 or self._window.room <= 0:
            return False
        first = stream.unsent[0]
        size = min(len(first), stream.room, self._window.room, self._peer_frame_bytes)
        if size < len(first):
            stream.unsent[0] = first[size:]
        else:
            stream.unsent.popleft()
        stream.unsent_bytes -= size
        self._put(stream, first[:size])
        if stream.unsent_bytes:
            self._waiting[stream.number] = self._waiting.pop(stream.number)  # to the end of the line
            return True
        self._all_sent(stream)
        return False

    def _all_sent(self, stream: Stream) -> None:
        self._waiting.pop(stream.number, None)
        if stream.trailers:
            self.trailers(stream.number, stream.trailers)
        elif stream.ends_plainly:
            self.end(stream.number)
        else:
            self._events.append(Room(stream.number))

    def _put(self, stream: Stream, data: memoryview) -> None:
        stream.room -= len(data)
        self._window.room -= len(data)
        for at in range(0, len(data), self._peer_frame_bytes):
            part = data[at : at + self._peer_frame_bytes]
            self._out.append(frames.frame_head(frames.DATA, 0, stream.number, len(part)))
            self._out.append(part)
            self._ratios.data_sent += 1

    def _end(self, stream: Stream) -> None:
        stream.we_ended = True
        if not stream.peer_ended:  # RFC 9113 8.1: the rest of the request is not wanted
            self._out.append(frames.rst_stream(stream.number, Code.NO_ERROR))
        self._forget(stream.number)

    def _forget(self, number: int) -> Stream | None:
        self._waiting.pop(number, None)
        return self.streams.pop(number, None)


_HANDLERS = {
    frames.DATA: Http2Connection._on_data,
    frames.HEADERS: Http2Connection._on_headers,
    frames.PRIORITY: Http2Connection._on_priority,
    frames.RST_STREAM: Http2Connection._on_rst_stream,
    frames.SETTINGS: Http2Connection._on_settings,
    frames.PUSH_PROMISE: Http2Connection._on_push_promise,
    frames.PING: Http2Connection._on_ping,
    frames.GOAWAY: Http2Connection._on_go_away,
    frames.WINDOW_UPDATE: Http2Connection._on_window_update,
    frames.CONTINUATION: Http2Connection._on_continuation,
}
