"""Where spans are sent to can be: an address that a sidecar can call, and no secret in it or in the clear."""

import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import SplitResult, urlsplit

from policies import units
from policies.errors import PolicyError
from policies.kinds import MESH, PolicyFile
from policies.listeners import is_loopback
from policies.mistakes import Mistake, placed
from policies.nodes import Mapping, Scalar, entry_of, find, text_of

LEAST_QUEUE_BYTES: Final = 8 * 2**20
"""What waits is in eight files; the oldest goes as a whole."""
SHORTEST_S: Final = 0.1
LONGEST_S: Final = 60.0
_EXAMPLE = "https://otlp.example.com:443/otlp"
_is_path = re.compile(r"[A-Za-z0-9._~/%+-]*").fullmatch


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every receiver of spans that cannot be called, or would have a secret shown, and every bound that is none."""
    return [
        placed(file, mistake)
        for file in files
        if file.kind is MESH and file.root is not None
        for found in find(file.root, "tracing.export")
        if isinstance(found.node, Mapping)
        for mistake in (*_receiver(found.node), *_bounds(found.node))
    ]


def _receiver(export: Mapping) -> Iterator[Mistake]:
    to = entry_of(export, "to")
    if to is None or not isinstance(to.value, Scalar) or not to.value.text.startswith("http"):
        return
    parts = _split(to.value.text)
    if parts is None:
        yield Mistake(to.value, "this address names no host", f"Write one such as {_EXAMPLE}.")
    elif parts.username is not None or parts.password is not None:
        problem = "this address holds a name or password, and policy files are no place for those"
        yield Mistake(to.value, problem, "Send them as a header field: headers: file:/PATH or env:NAME.")
    elif not parts.port:
        usual = 443 if parts.scheme == "https" else 4318
        fix = f"Write {parts.scheme}://{parts.netloc.removesuffix(':0')}:{usual}{parts.path}."
        yield Mistake(to.value, "this address says no port", fix)
    elif parts.query or parts.fragment or not _is_path(parts.path):
        problem = "/v1/traces is added to this address, and it does not end in a plain path"
        yield Mistake(to.value, problem, "Write it without ? and #.")
    else:
        yield from _trust(export, to.value, parts)


def _trust(export: Mapping, to: Scalar, parts: SplitResult) -> Iterator[Mistake]:
    ca = entry_of(export, "ca")
    if parts.scheme == "https":
        return
    if ca:
        problem = "nobody shows a certificate over plain HTTP"
        yield Mistake(ca.key, problem, f"Remove ca, or write https{to.text[4:60]}.")
    if entry_of(export, "headers") and not is_loopback(parts.hostname or ""):
        problem = "over plain HTTP anybody on the way reads the header fields"
        yield Mistake(to, problem, f"Write https{to.text[4:60]}.")


def _bounds(export: Mapping) -> Iterator[Mistake]:
    queue, answer_within = entry_of(export, "queue"), entry_of(export, "answer_within")
    size = units.quantity(text_of(export, "queue"), "size")
    if queue and size is not None and size < LEAST_QUEUE_BYTES:
        yield Mistake(queue.value, "too little for what waits: eight files of spans", "Write 8MiB or more.")
    within_s = units.quantity(text_of(export, "answer_within"), "duration")
    if answer_within and within_s is not None and not SHORTEST_S <= within_s <= LONGEST_S:
        yield Mistake(answer_within.value, "an answer is waited for from 100ms to 60s", "Write 5s.")


def _split(text: str) -> SplitResult | None:
    """Return the parts of an address; None where it names no host that can be looked up."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        return None
    return parts if host and text.isascii() else None
