"""Heads on the link: what an endpoint sees of a request, and what a worker is told of an answer."""

from __future__ import annotations

import re

from model_pod.protocols.exchange import HeaderFields, HttpAnswer
from model_pod.server.answers import cost, timing
from model_pod.server.outcomes import MAY_HAVE_RUN
from model_pod.server.reply import Usage
from model_pod.wire.http1.head import BODYLESS, NOT_FOR_CALLERS
from model_pod.wire.link import NOT_TOLD, PodAnswer, PodRequest
from telemetry.conventions import SERVER_TIMING, USAGE

# A line of these would cost the whole link.
_NOT_ON_THE_LINK = frozenset(name.decode() for name in NOT_FOR_CALLERS)
_LINE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\U0010ffff]*\Z")
_PHRASE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_MAX_BLOCKS, _MAX_BLOCK_BYTES = 256, 1024
_blocks: dict[HeaderFields, bytes] = {}


class LinkHead:
    """What a worker sent on of a request's header."""

    __slots__ = ("fields",)

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self.fields = fields

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the last field of that lower-case name, without the space around it."""
        found = None
        for written, value in self.fields:
            if len(written) == len(name) and written.lower() == name:
                found = value
        return found and found.strip(b" \t")


def fields_of(request: PodRequest) -> list[tuple[bytes, bytes]]:
    """Return a request's fields with those that a worker tells apart from them, as handlers see them over HTTP too."""
    return [
        *request.fields,
        (b"x-request-id", request.request_id.encode("latin-1")),
        (b"traceparent", request.traceparent.encode("latin-1")),
        (b"penstock-tenant", request.tenant.encode("latin-1")),
        (b"penstock-timeout-ms", b"%d" % request.timeout_ms),
    ]


def answer_head(
    answer: HttpAnswer,
    usage: Usage,
    reason: str,
    content_length: int,
    queued_rows: int,
    ahead_us: int,
    *,
    is_cold: bool = False,
) -> PodAnswer:
    """Return the head of an answer.

    Args:
        content_length: of the body as a client gets it; ``NOT_TOLD`` when it comes as it is made.
        is_cold: the model was not loaded when the request came.
    """
    fields = _block(answer.headers)
    if not usage.batch_rows:
        has_not_run = reason and reason not in MAY_HAVE_RUN
        # Of a body that is yet to be made nobody knows what it costs; its end tells.
        device_us = NOT_TOLD if has_not_run or content_length == NOT_TOLD else 0
        measured = _told_timing(answer.headers)
    else:
        device_us = usage.device_us
        fields += f"{USAGE}: {cost(usage)}\r\n".encode()
        measured = timing(usage).encode()
    phrase = answer.phrase if _PHRASE.match(answer.phrase) else ""
    length = 0 if answer.status in BODYLESS else content_length
    return PodAnswer(
        answer.status,
        phrase,
        reason,
        fields,
        measured,
        length,
        device_us,
        usage.tokens,
        queued_rows,
        ahead_us,
        is_cold,
    )


def _told_timing(headers: HeaderFields) -> bytes:
    """Return what an answer tells of its time that is not over."""
    return next((value.encode() for name, value in headers if name == SERVER_TIMING), b"")


def _block(headers: HeaderFields) -> bytes:
    """Return fields as lines; a model's answers mostly have the same, so those are judged once."""
    block = _blocks.get(headers)
    if block is None:
        block = "".join(f"{line}\r\n" for line in _lines(headers)).encode()
        if len(_blocks) >= _MAX_BLOCKS:
            _blocks.clear()
        if len(block) <= _MAX_BLOCK_BYTES:
            _blocks[headers] = block
    return block


def _lines(headers: HeaderFields) -> list[str]:
    kept = (f"{name}: {value}" for name, value in headers if name.lower() not in _NOT_ON_THE_LINK)
    return [line for line in kept if _LINE.match(line)]
