"""What a pod answers to a whole request: protocols decode it, the queue takes it, and its reply becomes an answer."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from model_pod.protocols import oip_v2, torchserve
from model_pod.protocols.exchange import BatchKey, HeaderFields, HttpAnswer, RowInput
from model_pod.protocols.oip_v2 import InferRequest, ModelName, json_answer
from model_pod.protocols.signature import Signature
from model_pod.server.answers import refusal, usage_headers
from model_pod.server.decoding import Decoding
from model_pod.server.events import say
from model_pod.server.pod import Pod
from model_pod.server.queue import split
from model_pod.server.reply import Settled
from model_pod.server.request_span import RequestSpan
from model_pod.server.routes import Endpoint, Route, match
from model_pod.wire.http1 import RequestHead
from model_pod.wire.refusals import Refused
from telemetry.conventions import REQUEST_ID, TIMEOUT_MS

# A caller that names no deadline gets the longest that the mesh gives by default.
DEFAULT_DEADLINE_S = 120.0
# Decoding so much takes about 2 ms, which the other connections can wait; a body of 16 MiB takes over 100 ms.
DECODE_HERE_BYTES = 256 * 2**10
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}\Z")
_MILLISECONDS = re.compile(rb"[0-9]{1,9}\Z")

Respond = Callable[[HttpAnswer], None]
Cancel = Callable[[], None]


@dataclass(frozen=True, slots=True)
class WholeRequest:
    """A request whose body is complete."""

    head: RequestHead
    route: Route
    request_id: str
    body: bytes
    arrived_s: float
    span: RequestSpan | None = None


def request_id_of(head: RequestHead) -> str:
    """Return the caller's request id, or a new one when there is none that can be sent back."""
    given = head.get(REQUEST_ID.encode())
    return given.decode("ascii") if given and _REQUEST_ID.match(given) else new_request_id()


def new_request_id() -> str:
    """Return an id that no other request has."""
    return uuid.uuid4().hex


class Endpoints:
    """The pod's answers.

    Args:
        server_version: what ``GET /v2`` says.
    """

    def __init__(self, pod: Pod, server_version: str) -> None:
        self.pod = pod
        self._server_version = server_version
        self._name = ModelName(pod.config.model, pod.config.version)
        self._decoding = Decoding(pod.dispatcher)

    def route(self, head: RequestHead) -> Route:
        """Return what a request asks for, by its head.

        Raises:
            Refused: the path, the method, the model or the version is not ours.
        """
        route = match(head.method, head.path)
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

    def begin_span(self, head: RequestHead, route: Route, request_id: str) -> RequestSpan | None:
        """Return the span of a request; None for what is no inference, or where nothing is recorded."""
        spans = self.pod.spans
        if spans is None or not route.needs_inference:
            return None
        endpoint = "explain" if route.explain else route.endpoint.name.lower()
        span = spans.begin(head, endpoint, request_id, time.monotonic())
        span.cold = not self.pod.is_ready
        return span

    def end_span(self, span: RequestSpan, status: int, reason: str) -> None:
        """Record how a request ended."""
        if self.pod.spans is not None:
            self.pod.spans.end(span, status, reason, time.monotonic())

    def answer(self, request: WholeRequest, respond: Respond) -> Cancel:
        """Answer a request, now or later; return what to call when its caller leaves.

        Raises:
            Refused: the request ends here.
        """
        match request.route.endpoint:
            case Endpoint.PREDICT:
                return self._predict(request, respond)
            case Endpoint.INFER:
                return self._infer(request, respond)
            case endpoint:
                respond(self._account(endpoint))
                return _nothing

    def _predict(self, request: WholeRequest, respond: Respond) -> Cancel:
        route = request.route
        content_type = (request.head.get(b"content-type") or b"").decode("latin-1")
        facts = torchserve.RequestFacts(
            request.request_id, _fields(request.head), content_type, route.url_path, route.explain
        )
        row = torchserve.decode(facts, request.body)

        def on_settled(settled: Settled) -> HttpAnswer:
            return torchserve.encode(settled.outputs[0])

        return self._enqueue(request, (row,), BatchKey(explain=route.explain), on_settled, respond)

    def _infer(self, request: WholeRequest, respond: Respond) -> Cancel:
        signature = self.pod.served().signature
        if request.head.get(oip_v2.BINARY_HEADER) is not None:
            message = "the binary tensor extension is not supported; send tensors as JSON, without {}"
            raise Refused("malformed_body", message.format(oip_v2.BINARY_HEADER.decode()))
        facts = oip_v2.RequestFacts(request.request_id, _fields(request.head))
        max_rows = self.pod.dispatcher.queue.max_rows
        late_at_s = deadline_s(request)

        def decode() -> InferRequest:
            if time.monotonic() >= late_at_s:
                raise Refused("deadline_exceeded", "the request's deadline passed before its body was decoded")
            return oip_v2.decode(facts, request.body, signature, max_rows)

        def enqueue(inference: InferRequest) -> Cancel:
            def on_settled(settled: Settled) -> HttpAnswer:
                return oip_v2.encode(inference, self._name, signature, settled.outputs)

            return self._enqueue(request, inference.rows, inference.batch_key, on_settled, respond)

        if len(request.body) <= DECODE_HERE_BYTES:
            return enqueue(decode())
        return self._decode_beside(request, decode, enqueue, respond)

    def _decode_beside(
        self,
        request: WholeRequest,
        decode: Callable[[], InferRequest],
        enqueue: Callable[[InferRequest], Cancel],
        respond: Respond,
    ) -> Cancel:
        cancel: Cancel

        def on_decoded(decoded: asyncio.Future[InferRequest]) -> None:
            nonlocal cancel
            try:
                cancel = enqueue(decoded.result())
            except Refused as refused:
                respond(refusal(refused, request.request_id))

        cancel = self._decoding.start(len(request.body), decode, on_decoded)
        return lambda: cancel()

    def _enqueue(
        self,
        request: WholeRequest,
        rows: Sequence[RowInput],
        batch_key: BatchKey,
        encode: Callable[[Settled], HttpAnswer],
        respond: Respond,
    ) -> Cancel:
        dispatcher = self.pod.dispatcher

        def on_settled(settled: Settled) -> None:
            dispatcher.forget(parts)
            respond(self._settled(request, settled, encode))

        max_rows = self.pod.served().policy.max_rows
        late_at_s = deadline_s(request)
        parts = split(rows, batch_key, time.monotonic(), late_at_s, max_rows, on_settled, request.span)
        dispatcher.add(parts)

        def cancel() -> None:
            parts[0].reply.cancel()
            dispatcher.forget(parts)

        return cancel

    def _settled(self, request: WholeRequest, settled: Settled, encode: Callable[[Settled], HttpAnswer]) -> HttpAnswer:
        try:
            if settled.refused:
                raise settled.refused
            answer = encode(settled)
            return answer._replace(headers=answer.headers + usage_headers(settled.usage))
        except Refused as refused:
            return refusal(refused, request.request_id, settled.usage)
        except Exception as error:  # batch-mates are answered after this one, whatever this one's answer holds
            say(f"pod {self.pod.config.name}", f"an answer could not be written: {type(error).__name__}: {error}")
            bad_output = Refused("bad_output", "the model's answer could not be written")
            return refusal(bad_output, request.request_id, settled.usage)

    def _account(self, endpoint: Endpoint) -> HttpAnswer:
        """Answer what needs no inference."""
        match endpoint:
            case Endpoint.PING:
                word = b"Healthy" if self.pod.is_ready else b"Unhealthy"
                body = b'{\n  "status": "%b"\n}\n' % word
                return HttpAnswer(200 if self.pod.is_ready else 500, oip_v2.JSON_TYPE + torchserve.NO_CACHE, body)
            case Endpoint.STATUS:
                return json_answer(self.pod.status())
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


def deadline_s(request: WholeRequest) -> float:
    """Return the moment after which a request need not be run.

    Raises:
        Refused: the caller's deadline is no whole number of milliseconds.
    """
    given = request.head.get(TIMEOUT_MS.encode())
    if given is None:
        return request.arrived_s + DEFAULT_DEADLINE_S
    if not _MILLISECONDS.match(given):
        raise Refused("malformed_http", f"{TIMEOUT_MS} is not a whole number of milliseconds")
    return request.arrived_s + int(given) / 1000.0


def _fields(head: RequestHead) -> HeaderFields:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.fields)


def _nothing() -> None:
    """There is nothing to cancel."""
