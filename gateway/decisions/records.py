"""Decision records: the facts of settled requests and what became of them, in blocks that stand by themselves.

A block holds a second of one worker: what is the same for many requests (who asked for what, how it ended) once, and
the rest in columns. On disk it is a frame: a head, the request ids, which nothing can compress, and the compressed
columns. No body, no secret and no header but those that decisions read is ever in one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from itertools import chain

import msgspec
from msgspec import Struct

from gateway.decide.credentials import Recorded
from gateway.decide.facts import RequestFacts
from gateway.decide.route import Api, path_of

ID_BYTES = 16
# What the gateway writes of a second is far below; a length beyond it is no frame of ours.
MAX_FRAME_BYTES = 64 * 2**20
_MAGIC = b"PDR1"
_HEAD = struct.Struct("<4sIIIdd")
_SPAN = struct.Struct("<dd")
# Level 1 gives 4 to 1; higher levels cost more than they save.
_LEVEL = 1


class Asked(Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """Who asked for what: the facts that many requests share.

    Attributes:
        api: "" for a path where no API lives; the path itself is not kept.
        model, version: as the path names them, known or not.
        pinned_version, timeout_ms: as the headers say.
        credential_id: the key's id, or what another credential is called.
        scopes: of a credential that is no key; a key's are in the files.
    """

    method: str
    api: str
    model: str
    version: str
    pinned_version: str
    timeout_ms: str
    tenant: str
    credential_id: str
    scopes: tuple[str, ...] = ()


class Ended(Struct, frozen=True, array_like=True, gc=False, cache_hash=True):
    """What was decided and how it ended, as many requests share it.

    Attributes:
        refusal: why it was refused a way in; "" for one that was admitted.
        status, reason: what the caller got, whoever refused.
        model, version, arm: what it went to.
        limits: those that refused it.
        rooms: limits of which ``Record.left`` is told.
        observed, warned, demoted_by: as in ``Decision``.
    """

    generation: int
    refusal: str
    status: int
    reason: str
    model: str
    version: str
    arm: str
    limits: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    observed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    demoted_by: str = ""


Row = tuple[int, int, int, int, int, int, int, int, int, tuple[int, ...]]
"""One request: moment, ``asked`` and ``ended`` (places in their lists), content length, microseconds of devices,
request bytes, response bytes, tokens, duration in microseconds, and what was left of each of ``Ended.rooms``."""


class Block(Struct, frozen=True, array_like=True):
    """What one worker settled in about a second.

    Attributes:
        since_us: the first decision's moment, microseconds since the epoch; the rows' moments count from it.
        lost: records that this worker could not keep since its last block.
        unidentified: how many requests were refused before anybody knew whose they were, by reason.
        columns: those of ``Row``, by moment.
    """

    since_us: int
    lost: int
    unidentified: dict[str, int]
    asked: tuple[Asked, ...]
    ended: tuple[Ended, ...]
    columns: tuple[tuple[int, ...], ...]
    left: tuple[tuple[int, ...], ...]


class Frame(Struct, frozen=True):
    """A block as it lies on disk.

    Attributes:
        first_s, last_s: moments of its first and last decision, seconds since the epoch.
        ids: of its requests, in the order of the columns, ``ID_BYTES`` each.
        payload: the block, compressed.
    """

    first_s: float
    last_s: float
    ids: bytes
    payload: bytes

    @property
    def size(self) -> int:
        """How many bytes it has on disk."""
        return _HEAD.size + len(self.ids) + len(self.payload)

    @property
    def count(self) -> int:
        """How many requests it holds."""
        return len(self.ids) // ID_BYTES

    def place_of(self, request_id: bytes) -> int:
        """Return where a request is in the columns, -1 when it is not there."""
        at = self.ids.find(request_id)
        while at >= 0 and at % ID_BYTES:
            at = self.ids.find(request_id, at + 1)
        return at // ID_BYTES if at >= 0 else -1


class Record(Struct, frozen=True, gc=False):
    """One settled request.

    Attributes:
        at_s: the moment of its decision, seconds since the epoch.
        left: what was left of each of ``ended.rooms``.
    """

    at_s: float
    asked: Asked
    ended: Ended
    content_length: int
    device_us: int
    request_bytes: int
    response_bytes: int
    tokens: int
    duration_s: float
    left: tuple[int, ...] = ()


def facts_of(asked: Asked, content_length: int, at_s: float) -> RequestFacts:
    """Return the facts that were decided upon."""
    return RequestFacts(
        asked.method,
        path_of(Api(asked.api) if asked.api else None, asked.model, asked.version),
        Recorded(asked.tenant, asked.credential_id, asked.scopes),
        asked.pinned_version,
        asked.timeout_ms,
        content_length,
        at_s,
    )


def record_at(block: Block, place: int) -> Record:
    """Return one record of a block."""
    moment_us, asked, ended, content_length, device_us, request_bytes, response_bytes, tokens, duration_us = (
        column[place] for column in block.columns
    )
    return Record(
        (block.since_us + moment_us) / 1e6,
        block.asked[asked],
        block.ended[ended],
        content_length,
        device_us,
        request_bytes,
        response_bytes,
        tokens,
        duration_us / 1e6,
        block.left[place],
    )


def framed(block: Block, ids: bytes) -> bytes:
    """Return a block as it is written; it is the slow part, and lets other threads run."""
    moments_us = block.columns[0] or (0,)
    payload = zlib.compress(msgspec.msgpack.encode(block), _LEVEL)
    first_s, last_s = ((block.since_us + moments_us[place]) / 1e6 for place in (0, -1))
    return packed(Frame(first_s, last_s, ids, payload))


def packed(frame: Frame) -> bytes:
    """Return a frame's bytes."""
    head = _HEAD.pack(_MAGIC, len(frame.ids), len(frame.payload), _checksum(frame), frame.first_s, frame.last_s)
    return b"".join((head, frame.ids, frame.payload))


def _checksum(frame: Frame) -> int:
    return zlib.crc32(frame.payload, zlib.crc32(frame.ids, zlib.crc32(_SPAN.pack(frame.first_s, frame.last_s))))


def frames(content: bytes) -> Iterator[Frame | None]:
    """Yield the frames of a file, and None for each stretch that is no whole frame."""
    at = 0
    while at < len(content):
        frame, end = _frame_at(content, at)
        if frame is not None:
            yield frame
            at = end
            continue
        yield None
        found = content.find(_MAGIC, at + 1)
        at = found if found >= 0 else len(content)


def _frame_at(content: bytes, at: int) -> tuple[Frame | None, int]:
    if len(content) - at < _HEAD.size:
        return None, at
    magic, id_bytes, payload_bytes, checksum, first_s, last_s = _HEAD.unpack_from(content, at)
    ids_at = at + _HEAD.size
    end = ids_at + id_bytes + payload_bytes
    if magic != _MAGIC or id_bytes % ID_BYTES or id_bytes + payload_bytes > MAX_FRAME_BYTES or end > len(content):
        return None, at
    frame = Frame(first_s, last_s, content[ids_at : ids_at + id_bytes], content[ids_at + id_bytes : end])
    return (frame, end) if _checksum(frame) == checksum else (None, at)


def opened(frame: Frame) -> Block | None:
    """Return the block of a frame; None for one that this release cannot read."""
    try:
        unpacker = zlib.decompressobj()
        packed = unpacker.decompress(frame.payload, MAX_FRAME_BYTES)
        block = msgspec.msgpack.decode(packed, type=Block)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return block if _is_whole(block, frame.count) else None


def _is_whole(block: Block, count: int) -> bool:
    """Whether every place that a row names is there: a replay then need not look."""
    columns = block.columns
    if len(columns) != _COLUMNS or any(len(column) != count for column in (*columns, block.left)):
        return False
    if not count:
        return True
    asked, ended = columns[1], columns[2]
    return (
        min(chain(asked, ended)) >= 0
        and max(asked) < len(block.asked)
        and max(ended) < len(block.ended)
        and all(one.api in _APIS for one in block.asked)
    )


_COLUMNS = 9
_APIS = frozenset({"", *Api})
