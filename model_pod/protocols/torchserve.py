"""TorchServe's protocol: a body becomes one row, by its content type, and the handler's bytes go back as they are."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from model_pod.protocols import multipart
from model_pod.protocols.exchange import HeaderFields, HttpAnswer, RowInput, RowOutput, check_names
from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Part, PartKind, Row, RowAnswer, RowRefused

MAX_FORM_FIELDS = 1_000
MAX_HEADER_BYTES = 16 * 1024  # as much as a request's head may be
# TorchServe sends these with every answer of its inference API.
NO_CACHE: HeaderFields = (
    ("Pragma", "no-cache"),
    ("Cache-Control", "no-cache; no-store, must-revalidate, private"),
    ("Expires", "Thu, 01 Jan 1970 00:00:00 UTC"),
)
# Framing and identity of the exchange are ours; a handler that sets them would break the connection.
_OURS = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "penstock-reason",
        "penstock-tokens",
        "penstock-usage",
        "server-timing",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    }
)
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class RequestFacts(NamedTuple):
    """What a TorchServe request said beside its body.

    Attributes:
        headers: the client's fields, in its order and spelling.
        content_type: "" when there is none.
    """

    request_id: str
    headers: HeaderFields
    content_type: str
    url_path: str = ""
    explain: bool = False


def decode(facts: RequestFacts, body: bytes | bytearray) -> RowInput:
    """Return the request's one row.

    Raises:
        Refused: the body is a form that cannot be read, or has more or longer names than a row may have.
    """
    media_type = _media_type(facts.content_type)
    named: _Named
    if not body:
        named = [("body", PartKind.BYTES, "", b"")]
    elif media_type == "multipart/form-data":
        named = _from_form(facts.content_type, body)
    elif media_type == "application/x-www-form-urlencoded":
        named = _from_urlencoded(body)
    else:
        named = [("body", _kind(media_type), facts.content_type, body)]
    check_names((name for name, *_ in named), (content_type for _, _, content_type, _ in named))
    parts = tuple(Part(name, kind, index, content_type) for index, (name, kind, content_type, _) in enumerate(named))
    row = Row(facts.request_id, facts.headers, parts, (), facts.url_path, facts.explain)
    return RowInput(row, tuple(value for *_, value in named))


def encode(output: RowOutput) -> HttpAnswer:
    """Return what the handler answered.

    Raises:
        Refused: the row was refused, or what the handler set cannot be sent.
    """
    outcome = output.outcome
    if isinstance(outcome, RowRefused):
        raise Refused(outcome.reason, outcome.message, outcome.status)
    if outcome.blob < 0 or not 200 <= outcome.status <= 599:
        raise Refused("bad_output", f"the handler answered status {outcome.status} in a form that cannot be sent")
    headers = _headers(outcome)
    phrase = "" if _CONTROL.search(outcome.phrase) else outcome.phrase
    return HttpAnswer(outcome.status, headers + NO_CACHE, output.blobs[outcome.blob], phrase)


def _headers(answer: RowAnswer) -> HeaderFields:
    replaced = _OURS | {"content-type"} if answer.content_type else _OURS
    headers = tuple(field for field in answer.headers if field[0].lower() not in replaced)
    if answer.content_type:
        headers += (("content-type", answer.content_type),)
    if any(not _FIELD_NAME.match(name) or _CONTROL.search(value) for name, value in headers):
        raise Refused("bad_output", "the handler set a header field that HTTP cannot carry")
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise Refused("bad_output", f"the handler set more than {MAX_HEADER_BYTES} bytes of header fields")
    return headers


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _kind(media_type: str) -> PartKind:
    if media_type == "application/json":
        return PartKind.JSON
    return PartKind.TEXT if media_type.startswith("text") else PartKind.BYTES


_Named = list[tuple[str, PartKind, str, Buffer]]


def _from_form(content_type: str, body: bytes | bytearray) -> _Named:
    last: dict[str, tuple[str, PartKind, str, Buffer]] = {}
    for part in multipart.parse(content_type, body):
        kind = _kind(_media_type(part.content_type)) if part.is_file else PartKind.BYTES
        last[part.name] = (part.name, kind, part.content_type, part.value)
    return list(last.values())


def _from_urlencoded(body: bytes | bytearray) -> _Named:
    pairs = bytes(body).split(b"&", MAX_FORM_FIELDS)
    if len(pairs) > MAX_FORM_FIELDS:
        raise Refused("malformed_body", f"the form has over {MAX_FORM_FIELDS} fields")
    last: dict[str, tuple[str, PartKind, str, Buffer]] = {}
    for pair in pairs:
        name, equals, value = pair.partition(b"=")
        if equals:  # a bare word is no field: `curl -d x` gives the handler an empty dict
            key = _unquote_plus(name).decode("utf-8", "replace")
            last[key] = (key, PartKind.BYTES, "", _unquote_plus(value))
    return list(last.values())


def _unquote_plus(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
