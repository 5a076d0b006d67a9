"""What a pod answers to a whole request: protocols decode it, the queue takes it, and its reply becomes an answer."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from model_pod.protocols import grpc_inference, grpc_messages, grpc_torchserve, oip_v2, torchserve
from model_pod.protocols.exchange import BatchKey, HeaderFields, HttpAnswer, RowInput, RowOutput
from model_pod.protocols.grpc_inference import GrpcInference
from model_pod.protocols.grpc_messages import CONTENT_TYPE, METHOD_FIELD, unframed
from model_pod.protocols.oip_v2 import InferRequest, ModelName, json_answer
from model_pod.protocols.signature import Signature
from model_pod.server.answer_stream import AnswerStream
from model_pod.server.answers import refusal
from model_pod.server.decoding import Decoded, Decoding
from model_pod.server.events import say
from model_pod.server.grpc_responder import ONE_ANSWER, MessageStream, OneMessage
from model_pod.server.kept_answer import KeptAnswer, refusal_of, replayed
from model_pod.server.outcomes import Begun, OutcomeBounds, OutcomeKey, Outcomes
from model_pod.server.pod import Pod
from model_pod.server.queue import QueuedRequest, split
from model_pod.server.reply import Settled, Usage
from model_pod.server.request_span import RequestSpan
from model_pod.server.responder import Responder
from model_pod.server.routes import Endpoint, Route, match
from model_pod.server.work_ahead import WorkAhead
from model_pod.wire.refusals import Refused
from telemetry.conventions import SERVER_TIMING
from telemetry.logs.line import warning

# Decoding so much takes about 2 ms, which the other connections can wait; a body of 16 MiB takes over 100 ms.
DECODE_HERE_BYTES = 256 * 2**10
# The same of protobuf once it is inflated, where a byte can be an element.
DECODE_MESSAGE_HERE_BYTES = 16 * 2**10
MAX_ROUTES_KEPT = 1024
# A shadow's name is a name in policy; what is longer is somebody's who asks the pod directly.
MAX_SHADOW_CHARACTERS = 64
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}\Z")

Cancel = Callable[[], None]


class Head(Protocol):
    """What an edge knows of a request before its body.

    Attributes:
        fields: the client's header fields, in its order and spelling.
    """

    fields: list[tuple[bytes, bytes]]

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the last field of that lower-case name."""
        ...


class OipForm(Protocol):
    """A form of the Open Inference Protocol: JSON, or protobuf by gRPC."""

    def decode(
        self, facts: oip_v2.RequestFacts, body: bytes, signature: Signature | None, row_limit: int
    ) -> InferRequest:
        """Return a request's rows; may refuse them."""
        ...

    def encode(
        self, request: InferRequest, name: ModelName, signature: Signature | None, outputs: Sequence[RowOutput]
    ) -> HttpAnswer:
        """Return the answer; may refuse the rows' outcomes."""
        ...


class WholeRequest(Struct, frozen=True):
    """A request whose body is complete.

    Attributes:
        deadline_s: moment after which it need not be run.
        outcome_key: under which its outcome is kept; None keeps none.
        payload_sha256: of what was asked, where there is a key.
    """

    head: Head
    route: Route
    request_id: str
    body: bytes
    deadline_s: float
    span: RequestSpan | None = None
    outcome_key: OutcomeKey | None = None
    payload_sha256: bytes = b""


def is_grpc(head: Head) -> bool:
    """Whether a request is a call of gRPC, which the gateway passes on as it is."""
    return head.get(b"content-type") == CONTENT_TYPE


def request_id_of(given: bytes | None) -> str:
    """Return the caller's request id, or a new one when there is none that can be sent back."""
    return given.decode("ascii") if given and _REQUEST_ID.match(given) else new_request_id()


def new_request_id() -> str:
    """Return an id that no other request has."""
    return uuid.uuid4().hex


class Endpoints:
    """The pod's answers.

    Args:
        server_version: what ``GET /v2`` says.

    Attributes:
        outcomes: of requests with an idempotency key.
        work: what rows took of the device lately.
    """

    def __init__(self, pod: Pod, server_version: str) -> None:
        self.pod = pod
        self._server_version = server_version
        self._name = ModelName(pod.config.model, pod.config.version)
        self._decoding = Decoding(pod.dispatcher)
        self._routes: dict[tuple[str, str], Route] = {}
        self.outcomes = Outcomes(OutcomeBounds(age_s=pod.config.outcomes_kept_s))
        self.work = WorkAhead()

    def route(self, method: str, path: str) -> Route:
        """Return what a request asks for; what was asked for lately is found without reading the path.

        Raises:
            Refused: the path, the method, the model or the version is not ours.
        """
        asked = method, path
        route = self._routes.get(asked)
        if route is None:
            route = self._match(method, path)
            if len(self._routes) >= MAX_ROUTES_KEPT:
                self._routes.clear()
            self._routes[asked] = route
        return route

    def _match(self, method: str, path: str) -> Route:
        route = match(method, path)
        if route.model and route.model != self._name.model:
            raise Refused("model_not_found", f"Model not found: {route.model}")
        if route.version and route.version != self._name.version:
            message = f"Model version: {route.version} does not exist for model: {route.model}"
            raise Refused("version_not_found", message)
        return route

    def admit(self, route: Route) -> None:
        """Judge whether a request may come in, before its body is read.

        Raises:
            Refused: nothing is taken in now.
        """
        if route.needs_inference:
            self.pod.admit()

    def begin_span(
        self, route: Route, request_id: str, tenant: str, traceparent: str, shadow: bytes | None
    ) -> RequestSpan | None:
        """Return the span of a request; None for what is no inference, or where nothing is recorded.

        Args:
            shadow: the name of the one that it is a copy for, as the gateway says it.
        """
        spans = self.pod.spans
        if spans is None or not route.needs_inference:
            return None
        endpoint = "explain" if route.explain else route.endpoint.name.lower()
        span = spans.begin(traceparent, tenant, endpoint, request_id, time.monotonic())
        span.cold = not self.pod.dispatcher.has_engine
        if shadow:
            span.shadow = shadow.decode("latin-1")[:MAX_SHADOW_CHARACTERS]
        return span

    def end_span(self, span: RequestSpan, status: int, reason: str) -> None:
        """Record how a request ended."""
        if self.pod.spans is not None:
            self.pod.spans.end(span, status, reason, time.monotonic())

    def answer(self, request: WholeRequest, respond: Responder) -> Cancel:
        """Answer a request, now or later; return what to call when its caller leaves.

        What runs already under an idempotency key runs on then, and its answer is kept.

        Raises:
            Refused: the request ends here.
        """
        key = request.outcome_key
        if key is None or not request.route.needs_inference:
            return self._answer(request, respond)
        begun = self.outcomes.begin(key, request.payload_sha256, time.monotonic())
        if isinstance(begun, HttpAnswer):
            respond(replayed(begun))
            return _nothing
        if begun is not Begun.NEW:
            raise refusal_of(begun)
        try:
            return self._answer(request, KeptAnswer(self.outcomes, key, respond))
        except BaseException:
            self.outcomes.forget(key)
            raise

    def _answer(self, request: WholeRequest, respond: Responder) -> Cancel:
        match request.route.endpoint:
            case Endpoint.PREDICT:
                return self._predict(request, respond)
            case Endpoint.INFER:
                return self._infer(request, respond)
            case endpoint:
                respond(self._account(endpoint))
                return _nothing

    def _predict(self, request: WholeRequest, respond: Responder) -> Cancel:
        route = request.route
        content_type = (request.head.get(b"content-type") or b"").decode("latin-1")
        facts = torchserve.RequestFacts(
            request.request_id, _fields(request.head), content_type, route.url_path, route.explain
        )

        def on_settled(settled: Settled) -> HttpAnswer:
            return torchserve.encode(settled.outputs[0])

        def enqueue(row: RowInput, to: Responder) -> Cancel:
            stream = AnswerStream(to, self._stream_head)
            return self._enqueue(request, (row,), BatchKey(explain=route.explain), on_settled, to, stream)

        if not is_grpc(request.head):
            return enqueue(torchserve.decode(facts, request.body), respond)
        has_one = request.head.get(METHOD_FIELD) == ONE_ANSWER
        to = OneMessage(respond, request.request_id) if has_one else MessageStream(respond)

        def decode() -> RowInput:
            message = unframed(request.body, self.pod.config.max_body_bytes)
            return grpc_torchserve.decode(facts, message, self._name)

        return self._decode(request, decode, lambda row: enqueue(row, to), respond)

    def _infer(self, request: WholeRequest, respond: Responder) -> Cancel:
        signature = self.pod.served().signature
        if request.head.get(oip_v2.BINARY_HEADER) is not None:
            message = "the binary tensor extension is not supported; send tensors as JSON, without {}"
            raise Refused("malformed_body", message.format(oip_v2.BINARY_HEADER.decode()))
        protocol: OipForm = oip_v2
        if is_grpc(request.head):
            is_streamed = request.head.get(METHOD_FIELD) == grpc_inference.STREAMED
            protocol = GrpcInference(self._name, self.pod.config.max_body_bytes, is_streamed=is_streamed)
        facts = oip_v2.RequestFacts(request.request_id, _fields(request.head))
        max_rows = self.pod.dispatcher.queue.max_rows

        def decode() -> InferRequest:
            return protocol.decode(facts, request.body, signature, max_rows)

        def enqueue(inference: InferRequest) -> Cancel:
            def on_settled(settled: Settled) -> HttpAnswer:
                return protocol.encode(inference, self._name, signature, settled.outputs)

            return self._enqueue(request, inference.rows, inference.batch_key, on_settled, respond)

        return self._decode(request, decode, enqueue, respond)

    def _decode(
        self,
        request: WholeRequest,
        decode: Callable[[], Decoded],
        enqueue: Callable[[Decoded], Cancel],
        respond: Responder,
    ) -> Cancel:
        """Decode a body, beside the loop if that takes long, and queue what came of it."""
        has_message = is_grpc(request.head)
        byte_count = grpc_messages.byte_count(request.body) if has_message else len(request.body)

        def decode_in_time() -> Decoded:
            if time.monotonic() >= request.deadline_s:
                raise Refused("deadline_exceeded", "the request's deadline passed before its body was decoded")
            return decode()

        if byte_count <= (DECODE_MESSAGE_HERE_BYTES if has_message else DECODE_HERE_BYTES):
            return enqueue(decode_in_time())
        held_bytes = min(byte_count, self.pod.config.max_body_bytes)  # what is larger is never inflated to its end
        return self._decode_beside(request, held_bytes, decode_in_time, enqueue, respond)

    def _decode_beside(
        self,
        request: WholeRequest,
        byte_count: int,
        decode: Callable[[], Decoded],
        enqueue: Callable[[Decoded], Cancel],
        respond: Responder,
    ) -> Cancel:
        cancel: Cancel

        def on_decoded(decoded: asyncio.Future[Decoded]) -> None:
            nonlocal cancel
            try:
                cancel = enqueue(decoded.result())
            except Refused as refused:
                respond(refusal(refused, request.request_id))
            except Exception as error:  # its caller is answered, and its key let go, whatever it is
                say(f"pod {self.pod.config.name}", warning(f"a body was not decoded: {type(error).__name__}: {error}"))
                respond(refusal(_not_decoded(error), request.request_id))

        stop = self._decoding.start(byte_count, decode, on_decoded)

        def cancel_decoding() -> None:
            self._forget(request)
            stop()

        cancel = cancel_decoding
        return lambda: cancel()

    def _enqueue(
        self,
        request: WholeRequest,
        rows: Sequence[RowInput],
        batch_key: BatchKey,
        encode: Callable[[Settled], HttpAnswer],
        respond: Responder,
        stream: AnswerStream | None = None,
    ) -> Cancel:
        dispatcher = self.pod.dispatcher

        def on_settled(settled: Settled) -> None:
            dispatcher.forget(parts)
            if settled.usage.batch_rows and settled.outputs:
                self.work.ran(settled.usage.device_us, len(settled.outputs))
            if stream is not None and stream.has_begun:
                stream.finish(settled)
            else:
                respond(self._settled(request, settled, encode), _usage(settled, parts))

        max_rows = self.pod.served().policy.max_rows
        now_s = time.monotonic()
        parts = split(rows, batch_key, now_s, request.deadline_s, max_rows, on_settled, request.span, stream)
        dispatcher.add(parts)

        def cancel() -> None:
            if self._runs_on(request, parts):
                return
            self._forget(request)
            parts[0].reply.cancel()
            dispatcher.abandon(parts)

        return cancel

    def _runs_on(self, request: WholeRequest, parts: Sequence[QueuedRequest]) -> bool:
        """Return whether a request whose caller left is worth its end: it has begun, and its answer will be kept."""
        key = request.outcome_key
        return key is not None and self.outcomes.awaits(key) and any(part.batch is not None for part in parts)

    def _forget(self, request: WholeRequest) -> None:
        if request.outcome_key is not None:
            self.outcomes.forget(request.outcome_key)

    def _settled(self, request: WholeRequest, settled: Settled, encode: Callable[[Settled], HttpAnswer]) -> HttpAnswer:
        try:
            if settled.refused:
                raise settled.refused
            return self._written(lambda: encode(settled))
        except Refused as refused:
            return refusal(refused, request.request_id)

    def _stream_head(self, output: RowOutput, so_far: Usage) -> HttpAnswer:
        """Return how an answer begins whose cost is not known yet, but how long it waited is.

        Raises:
            Refused: it cannot be sent.
        """
        answer = self._written(lambda: torchserve.encode(output))
        return answer._replace(headers=(*answer.headers, (SERVER_TIMING, f"queue;dur={so_far.queue_s * 1e3:.3f}")))

    def _written(self, encode: Callable[[], HttpAnswer]) -> HttpAnswer:
        try:
            return encode()
        except Refused:
            raise
        except Exception as error:  # batch-mates are answered after this one, whatever this one's answer holds
            say(
                f"pod {self.pod.config.name}",
                warning(f"an answer could not be written: {type(error).__name__}: {error}"),
            )
            raise Refused("bad_output", "the model's answer could not be written") from error

    def _account(self, endpoint: Endpoint) -> HttpAnswer:
        """Answer what needs no inference."""
        match endpoint:
            case Endpoint.PING:
                word = b"Healthy" if self.pod.is_ready else b"Unhealthy"
                body = b'{\n  "status": "%b"\n}\n' % word
                return HttpAnswer(200 if self.pod.is_ready else 500, oip_v2.JSON_TYPE + torchserve.NO_CACHE, body)
            case Endpoint.STATUS:
                return json_answer(replace(self.pod.status(), outcomes_dropped=self.outcomes.dropped_count))
            case Endpoint.SERVER_LIVE:
                return json_answer({"live": True})
            case Endpoint.SERVER:
                return json_answer({"name": "penstock", "version": self._server_version, "extensions": []})
            case Endpoint.METADATA:
                return oip_v2.metadata(self._name, self._signature())
        self._require_ready()
        if endpoint is Endpoint.MODEL_READY:
            return json_answer({"name": self._name.model, "ready": True})
        return json_answer({"ready": True})

    def _signature(self) -> Signature | None:
        if self.pod.model is None:
            raise Refused("model_not_ready", self.pod.life.message)
        return self.pod.model.signature

    def _require_ready(self) -> None:
        if not self.pod.is_ready:
            message = self.pod.life.message or "The model's process has ended."
            raise Refused("pod_draining" if self.pod.is_draining else "model_not_ready", message)


def _fields(head: Head) -> HeaderFields:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.fields)


def _not_decoded(error: Exception) -> Refused:
    if isinstance(error, MemoryError):
        return Refused("out_of_memory", "the pod had no memory left to decode the body")
    return Refused("malformed_body", "the body could not be decoded")


def _usage(settled: Settled, parts: Sequence[QueuedRequest]) -> Usage:
    """Return what a request used; one that is refused while a part runs has run, whatever that will have cost."""
    usage = settled.usage
    if settled.refused is None or usage.batch_rows:
        return usage
    return usage._replace(batch_rows=sum(part.row_count for part in parts if part.batch is not None))


def _nothing() -> None:
    """There is nothing to cancel."""
