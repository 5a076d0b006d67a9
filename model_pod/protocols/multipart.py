"""``multipart/form-data`` (RFC 7578) as a list of parts, bounded; values are views of the body, never copies."""

from __future__ import annotations

import re
from typing import NamedTuple

from model_pod.wire.refusals import Refused

MAX_PARTS = 128
MAX_PART_HEAD_BYTES = 4 * 1024
# RFC 2046 5.1.1: 1 to 70 of these characters, the last one no space.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]\Z")
_PARAMETER = re.compile(r';[ \t]*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')


class FormPart(NamedTuple):
    """One part of a form.

    Attributes:
        is_file: the part has a file name.
        content_type: as sent, "" when the part has none.
    """

    name: str
    is_file: bool
    content_type: str
    value: memoryview


def parameters(field_value: str) -> dict[str, str]:
    """Return a header value's parameters (``; name=value``), names in lower case."""
    found: dict[str, str] = {}
    for name, quoted, token in _PARAMETER.findall(field_value):
        found.setdefault(name.lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted else token)
    return found


def parse(content_type: str, body: bytes | bytearray) -> list[FormPart]:
    """Split a form into its parts, in order.

    Raises:
        Refused: the body is no such form, or has more or larger parts than a form may have.
    """
    boundary = parameters(content_type).get("boundary", "")
    if not _BOUNDARY.match(boundary):
        raise _malformed("its content type names no usable boundary")
    delimiter = b"--" + boundary.encode("ascii")
    at = _first_delimiter(body, delimiter)
    view = memoryview(body)
    parts: list[FormPart] = []
    while not body.startswith(b"--", at):
        if len(parts) == MAX_PARTS:
            raise _malformed(f"it has over {MAX_PARTS} parts")
        start = _end_of_line(body, at)
        end = body.find(b"\r\n" + delimiter, start - 2)
        if end < 0:
            raise _malformed("its last part does not end with the boundary")
        parts.append(_part(view[start : max(start, end)]))
        at = end + 2 + len(delimiter)
    return parts


def _malformed(problem: str) -> Refused:
    return Refused("malformed_body", f"the multipart form cannot be read: {problem}")


def _first_delimiter(body: bytes | bytearray, delimiter: bytes) -> int:
    """Return where the text after the first delimiter begins; a preamble before it is dropped."""
    if body.startswith(delimiter):
        return len(delimiter)
    found = body.find(b"\r\n" + delimiter)
    if found < 0:
        raise _malformed("the boundary is nowhere in the body")
    return found + 2 + len(delimiter)


def _end_of_line(body: bytes | bytearray, at: int) -> int:
    end = body.find(b"\r\n", at, at + 128)
    if end < 0 or bytes(body[at:end]).strip(b" \t"):
        raise _malformed("a boundary is not alone on its line")
    return end + 2


def _part(text: memoryview) -> FormPart:
    window = b"\r\n" + bytes(text[: MAX_PART_HEAD_BYTES + 4])
    head_end = window.find(b"\r\n\r\n")
    if head_end < 0:
        raise _malformed(f"a part's head does not end within {MAX_PART_HEAD_BYTES} bytes")
    fields = _fields(window[2:head_end])
    kind, _, _ = fields.get("content-disposition", "").partition(";")
    disposition = parameters(fields.get("content-disposition", ""))
    if kind.strip().lower() != "form-data" or "name" not in disposition:
        raise _malformed("a part has no `Content-Disposition: form-data` with a name")
    is_file = "filename" in disposition or "filename*" in disposition
    return FormPart(disposition["name"], is_file, fields.get("content-type", ""), text[head_end + 2 :])


def _fields(head: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if line and not colon:
            raise _malformed("a line of a part's head has no colon")
        fields[name.decode("latin-1").strip().lower()] = value.decode("utf-8", "replace").strip()
    return fields
