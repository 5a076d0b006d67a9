"""Merging: the many small blocks of a quiet hour become few, which take a fraction of the room."""

from __future__ import annotations

import os
from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from gateway.decisions.folder import MERGING
from gateway.decisions.records import ID_BYTES, Asked, Block, Ended, Frame, framed, frames, opened

# A block of a single request is some 400 bytes; from here on, requests share what blocks cost.
SMALL_ROWS = 64
# About 40 bytes each then; larger blocks would save little, and be slower to look one request up in.
ENOUGH_ROWS = 1_024
_COLUMNS = 9
_MOMENT = itemgetter(0)

Part = tuple[Block, bytes]
"""A block and its requests' ids."""


def merged(parts: Sequence[Part]) -> Part:
    """Return one block that holds all that these hold."""
    asked: dict[Asked, int] = {}
    ended: dict[Ended, int] = {}
    rows: list[tuple[Any, ...]] = []
    unidentified: dict[str, int] = {}
    for block, ids in parts:
        rows += _rows(block, ids, asked, ended)
        for reason, count in block.unidentified.items():
            unidentified[reason] = unidentified.get(reason, 0) + count
    rows.sort(key=_MOMENT)
    moments_us, *columns, left, sorted_ids = zip(*rows, strict=True) if rows else ((),) * (_COLUMNS + 2)
    since_us = moments_us[0] if rows else parts[0][0].since_us
    block = Block(
        since_us=since_us,
        lost=sum(block.lost for block, _ in parts),
        unidentified=unidentified,
        asked=tuple(asked),
        ended=tuple(ended),
        columns=(tuple([moment - since_us for moment in moments_us]), *columns),
        left=left,
    )
    return block, b"".join(sorted_ids)


def _rows(block: Block, ids: bytes, asked: dict[Asked, int], ended: dict[Ended, int]) -> list[tuple[Any, ...]]:
    """Return a block's rows with moments since the epoch, and with places in the lists of all; each ends by its id."""
    asked_places = [asked.setdefault(one, len(asked)) for one in block.asked]
    ended_places = [ended.setdefault(one, len(ended)) for one in block.ended]
    each_id = [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]
    return [
        (block.since_us + moment_us, asked_places[asker], ended_places[end], *rest)
        for moment_us, asker, end, *rest in zip(*block.columns, block.left, each_id, strict=True)
    ]


def merged_content(content: bytes) -> bytes | None:
    """Return a file's blocks, merged; None where they are large already, or one of them cannot be read."""
    whole: list[Frame] = []
    for frame in frames(content):
        if frame is None:
            return None
        whole.append(frame)
    if len(whole) < 2 or sum(frame.count for frame in whole) >= SMALL_ROWS * len(whole):
        return None
    pieces: list[bytes] = []
    parts: list[Part] = []
    count = 0
    for frame in whole:
        block = opened(frame)
        if block is None:
            return None
        parts.append((block, frame.ids))
        count += frame.count
        if count >= ENOUGH_ROWS:
            pieces.append(framed(*merged(parts)))
            parts, count = [], 0
    if parts:
        pieces.append(framed(*merged(parts)))
    return b"".join(pieces)


def merge_file(path: Path) -> None:
    """Merge the blocks of a file that nobody writes any more; whoever reads it sees all of the old or all of the new.

    Raises:
        OSError: it stays as it was.
    """
    content = merged_content(path.read_bytes())
    if content is None:
        return
    beside = path.with_name(path.name + MERGING)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
