"""Recorded traffic in the order of time, as a replay takes it: a list of rows at a time, within bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter

from msgspec import Struct

from gateway.decide.credentials import Recorded
from gateway.decide.route import Api, path_of
from gateway.decisions.records import Asked, Block, Ended

# Workers write what they settled; it is put into the order of decisions over so many requests. About 20 MB.
ORDERED_ROWS = 32_768


class Caller(Struct, frozen=True, gc=False):
    """What all requests have in common that asked alike."""

    tenant: str
    method: str
    path: str
    credential: Recorded
    pinned_version: str
    timeout_ms: str


Row = tuple[int, Caller, Ended, int, int, int, int, int, int, tuple[int, ...]]
"""``records.Row`` with its moment since the epoch, in microseconds, and with what its places stand for."""

_MOMENT = itemgetter(0)


def ordered(blocks: Iterable[Block], since_s: float = 0.0, until_s: float = float("inf")) -> Iterator[list[Row]]:
    """Yield the rows of blocks, decided in a span of time, in their order, as far as ``ORDERED_ROWS`` reach."""
    callers: dict[Asked, Caller] = {}
    rows: list[Row] = []
    for block in blocks:
        if len(callers) > ORDERED_ROWS:
            callers.clear()
        rows += _rows(block, callers, since_s * 1e6, until_s * 1e6)
        if len(rows) >= 2 * ORDERED_ROWS:
            rows.sort(key=_MOMENT)
            yield rows[:-ORDERED_ROWS]
            rows = rows[-ORDERED_ROWS:]
    rows.sort(key=_MOMENT)
    yield rows


def _rows(block: Block, callers: dict[Asked, Caller], since_us: float, until_us: float) -> list[Row]:
    by_place = [callers.get(asked) or callers.setdefault(asked, _caller(asked)) for asked in block.asked]
    ended = block.ended
    begun_us = block.since_us
    return [
        (at_us, by_place[asked], ended[end], *rest)
        for moment_us, asked, end, *rest in zip(*block.columns, block.left, strict=True)
        if since_us <= (at_us := begun_us + moment_us) <= until_us
    ]


def _caller(asked: Asked) -> Caller:
    return Caller(
        asked.tenant,
        asked.method,
        path_of(Api(asked.api) if asked.api else None, asked.model, asked.version),
        Recorded(asked.tenant, asked.credential_id, asked.scopes),
        asked.pinned_version,
        asked.timeout_ms,
    )
