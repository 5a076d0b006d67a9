"""Sampled: what of an answered request may be looked at: the fields that policy names, without what its rules hide.

It fails closed. A body that is no JSON object or list has none of these fields; a field that policy does not name is
not there; a header, a query or a path never is.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gateway.copies.compare.answer import Answer
from gateway.copies.hiding import TOO_LONG, Hiding
from gateway.copies.messages import Answered
from gateway.copies.privacy import EVERY_ITEM, Pointer, tokens_of
from gateway.copies.segments import Recorded
from policies.snapshot.samples import Sampling

# What is kept of one body at most; fields beyond are left out, in the order of their pointers.
MOST_BYTES = 32 * 2**10
_MOST_PLACES = 256
# Of the digest of whom a request is about: enough that nobody's samples are purged with another's.
_DIGEST_CHARACTERS = 32
_JSON_BYTES = b"inference-header-content-length"


class Sampler:
    """The rules of one model.

    Args:
        digest_key: of the digests of whom requests are about.

    Attributes:
        hiding: what was hidden so far.
    """

    def __init__(self, rule: Sampling, digest_key: bytes) -> None:
        self._pointers = tuple(map(tokens_of, rule.fields))
        self._subject = None if rule.subject is None else tokens_of(rule.subject)
        self._digest_key = digest_key
        self.hiding = Hiding(rule.redact)

    def sampled(self, answered: Answered, body: bytes, answer: Answer, why: str) -> Recorded:
        """Return what is kept of a request and its answer, and nothing else of either."""
        asked = _read(body, answered.fields)
        kept = msgspec.structs.replace(
            answered,
            target="",
            fields=(),
            answer_fields=b"",
            shadows=(),
            is_recorded=False,
            is_labelled=False,
            stage=None,
            subject=0,
            why_sample=why,
        )
        said = _read(answer.body, _fields_of(answer.fields))
        return Recorded(kept, self._named(asked), self._named(said), self._digest(asked))

    def _named(self, value: Any) -> bytes:
        named: dict[str, Any] = {}
        room = MOST_BYTES
        for pointer, found in self._found(value):
            shown = self.hiding.named(pointer, found)  # also what lies below the name of a secret is hidden
            room -= len(pointer) + len(msgspec.json.encode(shown))
            if room < 0:
                self.hiding.hidden[TOO_LONG] += 1
                break
            named[pointer] = shown
        return msgspec.json.encode(named)

    def _found(self, value: Any) -> Iterator[tuple[str, Any]]:
        left = _MOST_PLACES
        for pointer in self._pointers:
            for place, found in _at(value, pointer, ""):
                if not left:
                    self.hiding.hidden[TOO_LONG] += 1
                    return
                left -= 1
                yield place, found

    def _digest(self, asked: Any) -> str:
        if self._subject is None:
            return ""
        for _, found in _at(asked, self._subject, ""):
            if isinstance(found, str | int) and not isinstance(found, bool):
                return subject_digest(self._digest_key, str(found))
        return ""


def subject_digest(key: bytes, subject: str) -> str:
    """Return what is kept of whom a request is about."""
    return hmac.new(key, subject.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:_DIGEST_CHARACTERS]


def _at(value: Any, pointer: Pointer, place: str) -> Iterator[tuple[str, Any]]:
    """Yield what is at a pointer, each with its own place."""
    if not pointer:
        yield place, value
        return
    name, rest = pointer[0], pointer[1:]
    if isinstance(value, dict):
        if name in value:
            yield from _at(value[name], rest, f"{place}/{_escaped(name)}")
    elif isinstance(value, list):
        for index in _indexes(name, len(value)):
            yield from _at(value[index], rest, f"{place}/{index}")


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _indexes(name: str, count: int) -> range:
    if name == EVERY_ITEM:
        return range(min(count, _MOST_PLACES + 1))
    if name.isascii() and name.isdigit() and len(name) < 10 and int(name) < count:
        return range(int(name), int(name) + 1)
    return range(0)


def _read(body: bytes, fields: Sequence[tuple[bytes, bytes]]) -> Any:
    """Return what a body says, as far as it is an object or a list of JSON; None for any other."""
    lengths = [value.strip(b" \t") for name, value in fields if name.lower() == _JSON_BYTES]
    if lengths:
        is_number = lengths[0].isdigit() and len(lengths[0]) < 10
        body = body[: int(lengths[0])] if is_number else b""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None


def _fields_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    return [(name.strip(), value) for name, _, value in (line.partition(b":") for line in lines.split(b"\r\n"))]
