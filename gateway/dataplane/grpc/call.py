"""One call: its messages become requests of the gateway, one after the other, and their answers its messages."""

from __future__ import annotations

import math
import zlib
from typing import Protocol

from gateway.dataplane.answers import Readiness
from gateway.dataplane.forward import Forward
from gateway.dataplane.grpc import answers, health
from gateway.dataplane.grpc.answers import CALL_HEAD, Ending, whole_message
from gateway.dataplane.grpc.methods import (
    FROM_JSON,
    NOT_READY,
    OF_A_MODEL,
    TO_THE_POD,
    Asks,
    Method,
    only_ready,
    ready,
    target_of,
)
from gateway.dataplane.grpc.protobuf import Names, counted, names_of
from gateway.dataplane.grpc.requests import PREFIX_BYTES, encoding_of, to_http
from gateway.dataplane.grpc.status import Status, status_of, trailers
from gateway.decide.decision import Refusal
from gateway.errors import REASONS
from model_pod.wire.http1 import RequestHead
from model_pod.wire.refusals import Refused
from policies.snapshot.mesh import Bounds
from telemetry.conventions import REQUEST_ID
from telemetry.http2.fields import Head, field
from telemetry.http2.frames import Code

# Names come first in every encoder's messages, and are bounded where models are declared.
NAMES_WITHIN_BYTES = 8 * 1024
# Messages that the gateway itself answers: health, reflection.
OWN_MESSAGE_BYTES = 16 * 1024
STALLED_READER_S = 30.0
_NO_NAMES = Names("", "")
_GZIP = 31  # zlib's number for gzip with the largest window
_PING = '{\n  "status": "%s"\n}\n'


class Edge(Protocol):
    """The connection that a call is on, as the call sees it."""

    def forward(self, call: Call, request: RequestHead) -> Forward:
        """Make a request's life, and count it as under way."""
        ...

    def forwarded(self) -> None:
        """One that was counted is over."""
        ...

    def refused(self, reason: str, since_s: float) -> str:
        """Count what was refused before it was a request, and return an id for it."""
        ...

    def readiness(self) -> Readiness:
        """Return what the health methods tell."""
        ...

    def now_s(self) -> float: ...
    def look_at(self, at_s: float) -> None:
        """Call ``Call.look`` at that moment, or before."""
        ...

    def soon(self, call: Call) -> None:
        """Call ``Call.go_on_reading`` in the next turn."""
        ...

    def send_head(self, stream: int, block: bytes, *, ends: bool = False) -> None: ...
    def send_body(self, stream: int, piece: bytes | memoryview) -> int:
        """Return how many bytes of the stream wait for room."""
        ...

    def send_trailers(self, stream: int, block: bytes) -> None: ...
    def credit(self, stream: int, taken_bytes: int) -> None: ...
    def reset(self, stream: int, code: Code) -> None: ...


class Call:
    """One stream of a connection; ``Forward`` sees it as its ``Client``.

    Attributes:
        over: its trailers are on their way, or nobody waits for them.
        deadline_s: when the time of the request under way is over.
        watched: the service that ``Health/Watch`` tells of, and what it told last.
    """

    def __init__(self, edge: Edge, stream: int, head: Head, method: Method) -> None:
        self._edge = edge
        self._stream = stream
        self._head = head
        self._method = method
        self._inbox = b""
        self._inbox_ended = False
        self._forward: Forward | None = None
        self._left = 0  # of the message that the pod is getting
        self._held = False
        self._advancing = False
        self._head_sent = False
        self._answers = 0
        self._json: bytearray | None = None  # an answer that is no message, as far as it has come
        self._json_status = 0
        self._json_fields = b""
        self._begun_s = self._heard_s = edge.now_s()
        self.deadline_s = math.inf
        self._stalled_since_s = math.inf
        self._out_left = 0  # of the answer's message under way
        self._out_prefix = b""
        self.watched: tuple[str, health.Serving] | None = None
        self.over = False

    # --- what comes

    def take(self, data: bytes, *, ends: bool) -> None:
        """Take some of the caller's messages; ``ends``: there are no more."""
        self._heard_s = self._edge.now_s()
        self._inbox = self._inbox + data if self._inbox else data
        self._inbox_ended = ends
        self._advance()

    def go_on_reading(self) -> None:
        """The request may have more of its body now."""
        if not self.over:
            self._advance()

    def gone(self) -> None:
        """Nobody waits any more: the pod learns of it."""
        self.over = True
        forward = self._let_go()
        if forward is not None:
            forward.client_gone()

    def sent(self) -> None:
        """The caller has taken all that waited for it."""
        self._stalled_since_s = math.inf
        if self._forward is not None:
            self._forward.hold_answer(False)

    def give_up(self) -> None:
        """The worker leaves now."""
        if self._forward is not None:
            self._forward.give_up()
        else:
            self._refuse(Refusal("gateway_stopped", "the gateway stopped before the request was whole; it was not run"))

    def _advance(self) -> None:
        """Do what the bytes so far allow; an answer that ends meanwhile lets the next message begin."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not self.over and self._step():
                pass
        except Refused as refused:
            self._refuse(Refusal(refused.reason, refused.message))
        finally:
            self._advancing = False

    def _step(self) -> bool:
        """Do one thing; False when there is nothing to do for now."""
        if self._forward is not None:
            return self._pass_on()
        if self._answers and not self._method.takes_many:
            if self._inbox:
                raise Refused("malformed_body", f"{self._method.name} takes one message")
            return False  # Watch, which goes on
        if self._inbox:
            return self._begin_message()
        if self._inbox_ended:
            self._no_more()
        return False

    def _no_more(self) -> None:
        if not self._answers and not self._method.takes_many:
            raise Refused("malformed_body", f"{self._method.name} takes one message, and none came")
        self._finish(trailers(Status.OK))

    def _pass_on(self) -> bool:
        """Give the pod what came of the message; what comes after it waits for the answer."""
        forward = self._forward
        if forward is None or self._held or not self._inbox:
            return False
        if not self._left:
            if self._method.takes_many:
                return False
            raise Refused("malformed_body", f"{self._method.name} takes one message")
        piece, self._inbox = self._inbox[: self._left], self._inbox[self._left :]
        self._left -= len(piece)
        self._edge.credit(self._stream, len(piece))
        forward.on_body(memoryview(piece))
        if not self._left and self._forward is forward:
            forward.on_body_end()
        return True

    def _begin_message(self) -> bool:
        """Begin the request that a message is, once enough of it is there; False until then."""
        if len(self._inbox) < PREFIX_BYTES:
            return self._wait_for_more()
        flag, size = self._inbox[0], int.from_bytes(self._inbox[1:PREFIX_BYTES])
        if flag > 1 or (flag and encoding_of(self._head.fields) == b"identity"):
            raise Refused("malformed_body", "a message is compressed in a way that the call does not name")
        whole_bytes = PREFIX_BYTES + size
        asks = self._method.asks
        if asks not in OF_A_MODEL:
            return self._answer_by_itself(flag, whole_bytes)
        names = self._names(flag, whole_bytes)
        if names is None:
            return self._wait_for_more()
        if not names.model:
            raise Refused("malformed_body", "the message names no model")
        self._start(names, whole_bytes)
        return True

    def _wait_for_more(self) -> bool:
        if self._inbox_ended:
            raise Refused("malformed_body", "the last message is cut short")
        return False

    def _names(self, flag: int, whole_bytes: int) -> Names | None:
        start = self._inbox[PREFIX_BYTES : min(whole_bytes, NAMES_WITHIN_BYTES)]
        is_whole = len(self._inbox) >= whole_bytes and whole_bytes <= NAMES_WITHIN_BYTES
        if flag:
            start, is_whole = _inflated(start, NAMES_WITHIN_BYTES, is_whole=is_whole)
        names = names_of(start, is_whole=is_whole)
        if names is None and len(self._inbox) >= NAMES_WITHIN_BYTES:
            raise Refused(
                "malformed_body", f"the model's name is not within a message's first {NAMES_WITHIN_BYTES} bytes"
            )
        return names

    def _start(self, names: Names, message_bytes: int, query: str = "") -> None:
        asks = self._method.asks
        to_pod = asks in TO_THE_POD
        if not to_pod and len(self._inbox) < message_bytes:
            raise Refused("malformed_body", "the message is longer than what its method asks")
        request = to_http(self._head, target_of(asks, names) + query, self._method.name, message_bytes, to_pod=to_pod)
        self._forward = forward = self._edge.forward(self, request)
        forward.rpc = self._method.full_name
        self._held = False
        self._out_left, self._out_prefix = 0, b""
        if len(self._inbox) >= message_bytes:
            body, self._inbox = self._inbox[:message_bytes], self._inbox[message_bytes:]
            self._left = 0
            self._edge.credit(self._stream, message_bytes)
            forward.start(body if to_pod else b"")
        else:
            self._left = message_bytes
            forward.start()

    # --- what the gateway knows by itself

    def _answer_by_itself(self, flag: int, whole_bytes: int) -> bool:
        if whole_bytes > OWN_MESSAGE_BYTES:
            raise Refused("body_too_large", f"a message of this method has up to {OWN_MESSAGE_BYTES} bytes")
        if len(self._inbox) < whole_bytes:
            return self._wait_for_more()
        message = self._inbox[PREFIX_BYTES:whole_bytes]
        if flag:
            message, is_whole = _inflated(message, OWN_MESSAGE_BYTES, is_whole=True)
            if not is_whole:
                raise Refused("body_too_large", f"a message of this method has up to {OWN_MESSAGE_BYTES} bytes")
        if self._method.asks in (Asks.SERVER_METADATA, Asks.REPOSITORY_INDEX):
            query = only_ready(message) if self._method.asks is Asks.REPOSITORY_INDEX else ""
            self._start(_NO_NAMES, whole_bytes, query)
            return True
        self._edge.credit(self._stream, whole_bytes)
        self._inbox = self._inbox[whole_bytes:]
        self._answer_of_ours(message)
        return True

    def _answer_of_ours(self, message: bytes) -> None:
        match self._method.asks:
            case Asks.SERVER_LIVE:
                self._message(ready(True))
            case Asks.SERVER_READY:
                self._message(ready(self._edge.readiness().ready))
            case Asks.PING:
                word = "Healthy" if self._edge.readiness().ready else "Unhealthy"
                self._message(counted(1, _PING % word))
            case Asks.CHECK:
                self._check(health.service_asked(message))
            case Asks.WATCH:
                self._watch(health.service_asked(message))
            case _:
                # Imported here because it reads descriptors from a file, for the few who ask.
                from gateway.dataplane.grpc import reflection

                self._message(reflection.answer(message))

    def _check(self, service: str) -> None:
        serving = health.serving(service, self._edge.readiness())
        if serving is health.Serving.SERVICE_UNKNOWN:
            self._end_with(Ending(Status.NOT_FOUND, f"no service or model is called {service!r} here"), b"")
        else:
            self._message(health.response(serving))

    def _watch(self, service: str) -> None:
        self.watched = (service, health.serving(service, self._edge.readiness()))
        self._send_message(health.response(self.watched[1]))

    def tell_watcher(self, readiness: Readiness) -> None:
        """Tell a caller of ``Health/Watch`` what has changed."""
        if self.watched is None or self.over:
            return
        service, told = self.watched
        serving = health.serving(service, readiness)
        if serving is not told:
            self.watched = (service, serving)
            self._send_message(health.response(serving))

    def _message(self, content: bytes) -> None:
        """Answer one message by one."""
        self._send_message(content)
        self._after_answer()

    def _send_message(self, content: bytes) -> None:
        self._answers += 1
        self._send_head(b"")
        self._send(whole_message(content))

    # --- what the gateway answers (client.Client)

    def answer(self, status: int, phrase: bytes, fields: bytes, body: bytes | memoryview) -> None:
        """Tell a whole answer."""
        self._let_go()
        self._answers += 1
        if answers.is_message(fields):
            self._send_head(answers.metadata(fields))
            self._send(body)
            self._after_answer()
        else:
            self._translate(status, fields, body)

    def begin(self, status: int, phrase: bytes, fields: bytes, content_length: int) -> None:
        """Begin an answer that comes in pieces."""
        self._answers += 1
        if answers.is_message(fields):
            self._send_head(answers.metadata(fields))
        else:
            self._json, self._json_status, self._json_fields = bytearray(), status, fields

    def data(self, piece: bytes | memoryview) -> None:
        """Go on with an answer."""
        if self._json is None:
            self._follow(piece)
            self._send(piece)
        elif len(self._json) < answers.MAX_JSON_BYTES:
            self._json += piece

    def end(self) -> None:
        """End an answer."""
        self._let_go()
        if self._json is None:
            self._after_answer()
        else:
            body, self._json = bytes(self._json), None
            self._translate(self._json_status, self._json_fields, body)

    def cut(self) -> None:
        """Say that an answer is not whole: by trailers, or where these would stand inside a message, by a reset."""
        self._let_go()
        if self._out_left or self._out_prefix:
            self.over = True
            self._edge.reset(self._stream, Code.INTERNAL_ERROR)
        else:
            self._end_with(Ending(Status.UNAVAILABLE, "the answer was cut off; the request may have been run"), b"")

    def go_on(self) -> None:
        """Callers of gRPC never wait with a message until they are told."""

    def hold(self, held: bool) -> None:
        """Stop (or go on) passing the message to the pod; the stream's window stops the caller."""
        self._held = held
        if not held:
            self._heard_s = self._edge.now_s()
            self._edge.soon(self)

    def due(self, deadline_s: float) -> None:
        """Note the request's deadline."""
        self.deadline_s = deadline_s
        self._edge.look_at(deadline_s)

    # --- what goes

    def _translate(self, status: int, fields: bytes, body: bytes | memoryview) -> None:
        """Answer by what was told in JSON."""
        asks = self._method.asks
        if asks in FROM_JSON:
            content = self._from_json(asks, status, body)
            if content is not None:
                self._send_head(answers.metadata(fields))
                self._send(whole_message(content))
                self._after_answer()
                return
        self._end_with(answers.ending_of(status, body), fields)

    def _from_json(self, asks: Asks, status: int, body: bytes | memoryview) -> bytes | None:
        told = answers.json_of(body)
        if asks is Asks.MODEL_READY and told.get("reason") in NOT_READY:
            return ready(False)
        try:
            return FROM_JSON[asks](told) if status < 300 else None
        except (LookupError, TypeError, ValueError):
            return None

    def _after_answer(self) -> None:
        """End the call, or let its next message begin."""
        if not self._method.takes_many:
            self._finish(trailers(Status.OK))
        elif not self._advancing:
            self._advance()

    def _end_with(self, ending: Ending, fields: bytes) -> None:
        """End the call by an error; in a stream of inferences it is told as a message, and the stream goes on."""
        if self._method.takes_many and self._method.asks is Asks.INFER and self._skip_the_rest():
            self._send_head(b"")
            self._send(whole_message(counted(1, ending.message)))
            self._after_answer()
            return
        block = trailers(ending.status, ending.message)
        if self._head_sent:
            self._finish(block + answers.reason_field(ending.reason))
        else:
            self._finish(answers.metadata(fields) + block)

    def _skip_the_rest(self) -> bool:
        """Drop what is left of the message under way; False when it has not come, so that the next one cannot begin."""
        if len(self._inbox) < self._left:
            return False
        self._edge.credit(self._stream, self._left)
        self._inbox, self._left = self._inbox[self._left :], 0
        return True

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse what is under way."""
        if self._forward is not None:
            self._forward.refuse(refusal)
        elif not self.over:
            request_id = self._edge.refused(refusal.reason, self._begun_s)
            reason = REASONS[refusal.reason]
            block = trailers(status_of(reason.status), refusal.message) + answers.reason_field(reason.name)
            self._finish(block + field(REQUEST_ID.encode(), request_id.encode()))

    def _finish(self, block: bytes) -> None:
        """End the call by trailers, which are all of the answer where nothing was sent before."""
        if self.over:
            return
        self.over = True
        if self._head_sent:
            self._edge.send_trailers(self._stream, block)
        else:
            self._edge.send_head(self._stream, CALL_HEAD + block, ends=True)

    def _send_head(self, block: bytes) -> None:
        if not self._head_sent:
            self._head_sent = True
            self._edge.send_head(self._stream, CALL_HEAD + block)

    def _send(self, piece: bytes | memoryview) -> None:
        if self._edge.send_body(self._stream, piece) and self._stalled_since_s == math.inf:
            self._stalled_since_s = self._edge.now_s()
            if self._forward is not None:
                self._forward.hold_answer(True)

    def _follow(self, piece: bytes | memoryview) -> None:
        """Keep track of where in a message of the answer we are."""
        at, size = 0, len(piece)
        while at < size:
            if self._out_left:
                step = min(self._out_left, size - at)
                self._out_left -= step
            else:
                step = min(PREFIX_BYTES - len(self._out_prefix), size - at)
                self._out_prefix += bytes(piece[at : at + step])
                if len(self._out_prefix) == PREFIX_BYTES:
                    self._out_left, self._out_prefix = int.from_bytes(self._out_prefix[1:]), b""
            at += step

    def _let_go(self) -> Forward | None:
        forward, self._forward = self._forward, None
        if forward is not None:
            self._edge.forwarded()
            self.deadline_s = math.inf
            self._held = False
        return forward

    # --- time

    def look(self, now_s: float, bounds: Bounds) -> None:
        """Act on what is due."""
        if self._stalled_since_s + STALLED_READER_S <= now_s:
            self._edge.reset(self._stream, Code.CANCEL)
            self.gone()
        elif self.deadline_s <= now_s:
            if self._forward is not None:
                self._forward.deadline_passed()
        elif self._is_slow(now_s, bounds):
            message = f"nothing of the message came for {bounds.body_timeout_s:g} s"
            self._refuse(Refusal("body_too_slow", message))

    def _is_slow(self, now_s: float, bounds: Bounds) -> bool:
        """Whether a message that has begun, or a call's only one, stands still by the caller's fault."""
        if self._held or self._inbox_ended or self._heard_s + bounds.body_timeout_s > now_s:
            return False
        if self._forward is not None:
            return self._left > 0
        return bool(self._inbox) or not (self._answers or self._method.takes_many)


def _inflated(data: bytes, most_bytes: int, *, is_whole: bool) -> tuple[bytes, bool]:
    """Return the first bytes of what was compressed, and whether they are all."""
    inflater = zlib.decompressobj(_GZIP)
    try:
        start = inflater.decompress(data, most_bytes)
    except zlib.error:
        raise Refused("malformed_body", "a message that says so is not compressed by gzip") from None
    return start, is_whole and inflater.eof
