"""Hostile requests that differ in a byte or a spelling: every one there is, so no gap hides between two examples."""

from __future__ import annotations

import string
from collections.abc import Iterator
from itertools import chain

from tests.http_corpus.notation import unescape

Row = tuple[str, str, str, str, bytes]  # kind, rule, name, reason, data

_TOKEN = frozenset((string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode())
_CONTROLS = [*range(0x20), 0x7F]
_SMUGGLED = "{smuggled}"
_REFUSED = "refused"

# Ways to write a Transfer-Encoding that one parser takes for chunked and another does not; {} is the coding.
_AROUND = [rf"\x{byte:02x}" for byte in _CONTROLS if byte != 0x09] + [r"\x80", r"\x85", r"\xa0", r"\xad", r"\xff"]
TRANSFER_ENCODINGS = (
    # a byte beside the coding
    *(rf"Transfer-Encoding: {byte}chunked" for byte in _AROUND),
    *(rf"Transfer-Encoding: chunked{byte}" for byte in _AROUND),
    # a byte beside the name
    *(rf"{byte}Transfer-Encoding: chunked" for byte in _AROUND),
    *(rf"Transfer-Encoding{byte}: chunked" for byte in _AROUND),
    *(rf"Transfer{byte}Encoding: chunked" for byte in [r"\t", " ", *_AROUND]),
    # the colon
    r"Transfer-Encoding : chunked",
    r"Transfer-Encoding\t: chunked",
    r"Transfer-Encoding  : chunked",
    r" Transfer-Encoding: chunked",
    r"\tTransfer-Encoding: chunked",
    r"Transfer-Encoding chunked",
    r"Transfer-Encoding; chunked",
    r"Transfer-Encoding= chunked",
    r"Transfer-Encoding:: chunked",
    # the coding
    *(
        f"Transfer-Encoding: {coding}"
        for coding in (
            "xchunked",
            "chunkedx",
            "chunke",
            "chunk",
            "hunked",
            "x-chunked",
            "chunked-x",
            "chun ked",
            "c hunked",
            '"chunked"',
            "'chunked'",
            "(chunked)",
            "<chunked>",
            "chunked;",
            "chunked; a=b",
            "chunked,",
            ",chunked",
            ", chunked",
            "chunked, chunked",
            "chunked,chunked",
            "chunked chunked",
            "chunked, identity",
            "identity, chunked",
            "chunked, gzip",
            "gzip, chunked",
            "gzip,\tchunked",
            "cow",
            "cow, chunked",
            "chunked, cow",
            "identity",
            "null",
            "none",
            "0",
            "=chunked",
            ":chunked",
            "chunked:",
            "chunked/",
            "chunk\\xe9d",
            "\\xe2\\x80\\x8bchunked",
            "chunKed".replace("K", "\\xe2\\x84\\xaa"),  # the sign of Kelvin, which lower() makes a k
            "%63hunked",
            "=?utf-8?q?chunked?=",
        )
    ),
    # the line
    r"Transfer-Encoding:\r\n chunked",
    r"Transfer-Encoding:\r\n\tchunked",
    r"Transfer-Encoding: chunked\r\n x",
    r"Transfer-Encoding:\nchunked",
    r"X: y\nTransfer-Encoding: chunked",
    r"X: y\rTransfer-Encoding: chunked",
    r"X: y\r\rTransfer-Encoding: chunked",
    r"X: y\r\n\0Transfer-Encoding: chunked",
    r"X:\x0bTransfer-Encoding: chunked",
    r"X:\x00\r\nTransfer-Encoding: chunked\r\nY:\x00",
    # twice
    r"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    r"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    r"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    r"Transfer-Encoding: chunked\r\nTransfer-encoding: identity",
    r"Transfer-Encoding: identity\r\nTransfer-encoding: chunked",
    r"Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    r"Transfer-Encoding: chunked\r\nTransfer-Encoding:",
    r"Transfer-Encoding: \r\nTransfer-Encoding: ",
)
# Legal spellings, which are smuggling only beside a length.
_CHUNKED = (
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:chunked",
    "Transfer-Encoding: Chunked",
    "TRANSFER-ENCODING: CHUNKED",
    "transfer-encoding:\\tchunked\\t",
    "tRANSFER-eNCODING: chunked   ",
)
LENGTHS = (
    "",
    "+3",
    "-3",
    "-0",
    "3.0",
    "3e0",
    "0x3",
    "0b11",
    "0o3",
    "3_0",
    "3,3",
    "3, 3",
    "3,4",
    "3;3",
    "3 3",
    "3 a",
    "a3",
    "3a",
    "three",
    '"3"',
    "'3'",
    "(3)",
    "3\\0",
    "\\03",
    "3\\x01",
    "3\\x0b",
    "\\x0b3",
    "3\\x0c",
    "3\\x7f",
    "\\xd9\\xa3",
    "\\xb2",
    "\\xa03",
    "3\\xa0",
    "%33",
    "inf",
    "nan",
    "NaN",
    "true",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551619",
    "99999999999999999999",
    "{0*17}3",
    "{9*200}",
)
_LENGTH_NAMES = (
    "Content Length",
    "Content-Length ",
    " Content-Length",
    "Content-Length\\t",
    "Content-Length\\0",
    "Content-Length\\x0b",
    "Content-Length\\xa0",
    "\\0Content-Length",
    "(Content-Length)",
    "Content-Length,",
    "Content-Length;",
    "Content/Length",
    "[Content-Length]",
)


def hostile() -> Iterator[Row]:
    """Return every row of every table."""
    return chain(_codings(), _lengths(), _bytes_in_heads(), _bytes_in_chunks())


def _codings() -> Iterator[Row]:
    body = r"\r\n\r\n0\r\n\r\n" + _SMUGGLED
    for field in TRANSFER_ENCODINGS:
        yield "coding", "RFC 9112 6.1", field, _REFUSED, unescape("{post}" + field + body)
    for field in (*TRANSFER_ENCODINGS, *_CHUNKED):
        before = unescape(r"{post}Content-Length: 5\r\n" + field + body)
        yield "length and coding", "RFC 9112 6.1", f"Content-Length, {field}", _REFUSED, before
        after = unescape("{post}" + field + r"\r\nContent-Length: 5" + body)
        yield "coding and length", "RFC 9112 6.1", f"{field}, Content-Length", _REFUSED, after


def _lengths() -> Iterator[Row]:
    for value in LENGTHS:
        data = unescape("{post}Content-Length: " + value + r"\r\n\r\nabc" + _SMUGGLED)
        yield "length", "RFC 9112 6.3", f"Content-Length: {value}", "malformed_http", data
    for name in _LENGTH_NAMES:
        data = unescape("{post}" + name + r": 3\r\n\r\nabc" + _SMUGGLED)
        yield "length", "RFC 9112 5.1", f"{name}: 3", "malformed_http", data


def _bytes_in_heads() -> Iterator[Row]:
    kind, reason = "a byte", "malformed_http"
    for byte in _CONTROLS:
        text, at = bytes([byte]), f"{byte:#04x}"
        if byte != 0x09:  # a tab is legal there
            yield kind, "RFC 9110 5.5", f"{at} in a value", reason, unescape("{post}X-A: a") + text + b"b\r\n\r\n"
        yield kind, "RFC 9112 3.2", f"{at} in a target", reason, _with_target(text)
        yield kind, "RFC 9110 9.1", f"{at} in a method", reason, b"PO" + text + unescape("{post}")[2:] + b"\r\n"
    for byte in range(0x80, 0x100):
        yield kind, "RFC 9112 3.2", f"{byte:#04x} in a target", reason, _with_target(bytes([byte]))
    for byte in sorted(set(range(0x100)) - _TOKEN - {ord(":")}):
        data = unescape("{post}X") + bytes([byte]) + b"A: a\r\n\r\n"
        yield kind, "RFC 9110 5.6.2", f"{byte:#04x} in a name", reason, data


def _with_target(text: bytes) -> bytes:
    return b"POST /predictions/" + text + unescape(r"digits HTTP/1.1\r\n{fields}\r\n")


def _bytes_in_chunks() -> Iterator[Row]:
    reason, rule = "malformed_http", "RFC 9112 7.1"
    chunked = unescape("{chunked}")
    for byte in sorted(set(range(0x100)) - set(string.hexdigits.encode())):
        text, at = bytes([byte]), f"{byte:#04x}"
        yield "a byte", rule, f"{at} before a size", reason, chunked + text + b"3\r\nabc\r\n0\r\n\r\n"
        if byte != ord(";"):
            yield "a byte", rule, f"{at} after a size", reason, chunked + b"3" + text + b"\r\nabc\r\n0\r\n\r\n"
        if byte != ord("\r"):
            yield "a byte", rule, f"{at} after the data", reason, chunked + b"3\r\nabc" + text + b"\n0\r\n\r\n"
