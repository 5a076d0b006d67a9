"""The corpus, whole: what is written in ``requests/`` and ``responses/``, and what the tables make of each byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_pod.wire.refusals import REASONS
from tests.http_corpus import tables
from tests.http_corpus.notation import FOLDER, unescape, written

LIMIT_BYTES = 2**20  # of bodies, wherever the corpus is run
REFUSED_FILES = (
    "framing",
    "chunks",
    "trailers",
    "line_ends",
    "request_line",
    "methods",
    "fields",
    "host",
    "targets",
    "connection",
    "expect",
    "limits",
)
# For a request that has two things wrong, or one that may be called either: any reason of the gate's is right.
ANY_REASON = "refused"
GATE_REASONS = frozenset(
    {
        "malformed_http",
        "method_not_allowed",
        "body_too_large",
        "target_too_long",
        "expectation_not_supported",
        "head_too_large",
        "transfer_coding_not_supported",
        "http_version_not_supported",
    }
)


@dataclass(frozen=True, slots=True)
class Hostile:
    """A request that must be refused.

    Attributes:
        kind: the class it belongs to; a file's name or a table's.
        reason: what it is refused with; ``ANY_REASON`` for any of the gate's.
    """

    kind: str
    name: str
    rule: str
    reason: str
    data: bytes

    def is_refused_with(self, reason: str) -> bool:
        """Whether that is a right reason."""
        return reason == self.reason or (self.reason == ANY_REASON and reason in GATE_REASONS)


@dataclass(frozen=True, slots=True)
class Legal:
    """A request that must be accepted, and what it says."""

    name: str
    rule: str
    method: str
    target: str
    body: bytes
    data: bytes


def hostile() -> Iterator[Hostile]:
    """Return every request that must be refused."""
    for kind in REFUSED_FILES:
        for case in written(FOLDER / "requests" / f"{kind}.txt"):
            if case.expectation not in REASONS and case.expectation != ANY_REASON:
                raise ValueError(f"{kind}, {case.name}: {case.expectation} is no reason")
            yield Hostile(kind, case.name, case.rule, case.expectation, case.data)
    for kind, rule, name, reason, data in tables.hostile():
        yield Hostile(kind, name, rule, reason, data)


def legal() -> Iterator[Legal]:
    """Return every request that must be accepted."""
    for case in written(FOLDER / "requests" / "legal.txt"):
        method, target, *body = unescape(case.expectation).split(b" ", 2)
        whole_body = body[0] if body else b""
        yield Legal(case.name, case.rule, method.decode(), target.decode(), whole_body, case.data)


@dataclass(frozen=True, slots=True)
class HostileAnswer:
    """What a pod says and must not.

    Attributes:
        found: ``refused`` by the gate, ``cut`` before it is whole, or ``extra`` bytes after it.
    """

    name: str
    rule: str
    found: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LegalAnswer:
    """What a pod may say, and what it means."""

    name: str
    rule: str
    status: int
    body: bytes
    data: bytes


def hostile_answers() -> Iterator[HostileAnswer]:
    """Return every answer of a pod that must not be taken for one."""
    for case in written(FOLDER / "responses" / "hostile.txt"):
        if case.expectation not in ("refused", "cut", "extra"):
            raise ValueError(f"{case.name}: {case.expectation} is none of the three")
        yield HostileAnswer(case.name, case.rule, case.expectation, case.data)


def legal_answers() -> Iterator[LegalAnswer]:
    """Return every answer of a pod that must be passed on."""
    for case in written(FOLDER / "responses" / "legal.txt"):
        status, *body = unescape(case.expectation).split(b" ", 1)
        yield LegalAnswer(case.name, case.rule, int(status), body[0] if body else b"", case.data)
