"""Answers as HTTP/1.1 bytes: refusals in the one shape they have, and the headers that say what a request cost."""

from __future__ import annotations

from http import HTTPStatus

from model_pod.protocols.exchange import HeaderFields, HttpAnswer
from model_pod.server.reply import Usage
from model_pod.wire.frames import Buffer
from model_pod.wire.http1.head import BODYLESS
from model_pod.wire.refusals import REASON_HEADER, REASONS, Refused, refusal_body
from telemetry.conventions import REQUEST_ID, SERVER_TIMING, USAGE

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
JOIN_BELOW_BYTES = 64 * 2**10  # copying so little costs less than a second buffer to write
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class MethodNotAllowed(Refused):
    """The path does not take this method.

    Args:
        allow: the methods that it takes, as ``Allow`` lists them.
    """

    def __init__(self, method: str, allow: str) -> None:
        super().__init__("method_not_allowed", f"this path does not take {method}; it takes {allow}")
        self.allow = allow


def refusal(refused: Refused, request_id: str) -> HttpAnswer:
    """Return the answer that a refusal is."""
    reason = REASONS[refused.reason]
    status = refused.status or reason.status
    headers: HeaderFields = (("content-type", "application/json"), (REASON_HEADER, reason.name))
    if status == 503 or reason.name == "idempotency_in_progress":
        headers += (("retry-after", "1"),)
    if isinstance(refused, MethodNotAllowed):
        headers += (("allow", refused.allow),)
    return HttpAnswer(status, headers, refusal_body(reason, refused.message, request_id, refused.status))


def reason_in(answer: HttpAnswer) -> str:
    """Return why an answer is a refusal; "" for an answer of the model."""
    if answer.status < 400:
        return ""
    return next((value for name, value in answer.headers if name == REASON_HEADER and value in REASONS), "")


def usage_headers(usage: Usage) -> HeaderFields:
    """Return what a request cost (``penstock-usage``) and where its time went; nothing for one that never ran."""
    return ((USAGE, cost(usage)), (SERVER_TIMING, timing(usage))) if usage.batch_rows else ()


def cost(usage: Usage) -> str:
    """Return the value of ``penstock-usage``."""
    text = f"device_us={usage.device_us};batch={usage.batch_rows};queue_us={usage.queue_s * 1e6:.0f}"
    return f"{text};tokens={usage.tokens}" if usage.tokens else text


def timing(usage: Usage) -> str:
    """Return the value of ``server-timing``, in milliseconds."""
    stages = usage.stages
    return (
        f"queue;dur={usage.queue_s * 1e3:.3f}, preprocess;dur={stages.preprocess_s * 1e3:.3f}, "
        f"inference;dur={stages.inference_s * 1e3:.3f}, postprocess;dur={stages.postprocess_s * 1e3:.3f}"
    )


def encode(answer: HttpAnswer, request_id: str, keep_alive: bool, is_head: bool) -> list[Buffer]:
    """Return the bytes of an answer, in pieces to write one after the other."""
    phrase = answer.phrase or _PHRASES.get(answer.status, "")
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in answer.headers)]
    lines.append(f"{REQUEST_ID}: {request_id}")
    bodyless = answer.status in BODYLESS
    if not bodyless:
        lines.append(f"content-length: {len(answer.body)}")
    lines.append("connection: keep-alive\r\n\r\n" if keep_alive else "connection: close\r\n\r\n")
    head = "\r\n".join(lines).encode()
    if bodyless or is_head:
        return [head]
    return [head + answer.body] if len(answer.body) < JOIN_BELOW_BYTES else [head, answer.body]


def encode_begun(answer: HttpAnswer, request_id: str, keep_alive: bool, is_chunked: bool) -> bytes:
    """Return the head of an answer whose body is not whole yet; without chunks its end is the connection's."""
    phrase = answer.phrase or _PHRASES.get(answer.status, "")
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in answer.headers)]
    lines.append(f"{REQUEST_ID}: {request_id}")
    if is_chunked:
        lines.append("transfer-encoding: chunked")
    lines.append("connection: keep-alive\r\n\r\n" if keep_alive else "connection: close\r\n\r\n")
    return "\r\n".join(lines).encode()
