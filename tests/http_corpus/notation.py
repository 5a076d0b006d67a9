r"""How the corpus is written: two lines for a case, its heading and its bytes.

    = name | rule | expectation
    bytes, with \r \n \t \0 \xHH \\ escaped; {X*N} repeats X; {post} and the like stand for usual beginnings

Lines that begin with ``#`` are remarks; a case's bytes may go on over several lines, which are joined without a break.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.gateway.policy import KEY

FOLDER = Path(__file__).parent
PATH = "/predictions/digits"
_FIELDS = rf"Host: mesh\r\nAuthorization: Bearer {KEY}\r\n"
_STANDS_FOR = {
    "fields": _FIELDS,
    "get": rf"GET {PATH} HTTP/1.1\r\n{_FIELDS}",
    "post": rf"POST {PATH} HTTP/1.1\r\n{_FIELDS}",
    "post10": rf"POST {PATH} HTTP/1.0\r\n{_FIELDS}",
    "chunked": rf"POST {PATH} HTTP/1.1\r\n{_FIELDS}Transfer-Encoding: chunked\r\n\r\n",
    "path": PATH,
    "smuggled": rf"GET /smuggled HTTP/1.1\r\n{_FIELDS}\r\n",
}
_STANDING = re.compile(r"\{(\w+)\}")
_REPEATED = re.compile(r"\{([^{}]+)\*(\d+)\}")
_ESCAPE = re.compile(rb"\\(?:([rnt0\\])|x([0-9A-Fa-f]{2}))")
_LETTERS = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass(frozen=True, slots=True)
class Written:
    """One case as it is written.

    Attributes:
        rule: the section or the bound it speaks of.
        expectation: what must follow, in the words of its kind of case.
    """

    name: str
    rule: str
    expectation: str
    data: bytes


def unescape(text: str) -> bytes:
    """Return the bytes that a text of the corpus stands for."""
    text = _STANDING.sub(lambda match: _STANDS_FOR.get(match[1], match[0]), text)
    text = _REPEATED.sub(lambda match: match[1] * int(match[2]), text)
    return _ESCAPE.sub(lambda match: _LETTERS[match[1]] if match[1] else bytes([int(match[2], 16)]), text.encode())


def written(path: Path) -> Iterator[Written]:
    """Read the cases of one file.

    Raises:
        ValueError: a heading is not one, or a case has no bytes.
    """
    for block in re.split(r"^= ", _without_remarks(path), flags=re.MULTILINE)[1:]:
        heading, *lines = block.rstrip("\n").split("\n")
        try:
            name, rule, expectation = (part.strip() for part in heading.split(" | "))
        except ValueError:
            raise ValueError(f"{path.name}: {heading!r} is not `name | rule | expectation`") from None
        yield Written(name, rule, expectation, unescape("".join(lines)))


def _without_remarks(path: Path) -> str:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() and not line.startswith("#"))
