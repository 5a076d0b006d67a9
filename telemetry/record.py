"""The recorder: what a process tells its sidecar. On the hot path a tuple goes into a ring; the rest happens later.

Ten times a second the owner's loop calls ``flush``, which writes what is in the ring to the sidecar's socket, without
ever waiting: packets on ``SOCK_SEQPACKET`` go whole or not at all. While the sidecar is gone or stopped, records stay
in the ring; when the ring is full the newest are dropped and counted. The tuples' shapes are in ``records``.
"""

from __future__ import annotations

import errno
import random
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from telemetry.records import FRAME_VERSION, PART_SPAN_DIGITS, Source
from telemetry.wall_offset import wall_offset_ns

FLUSH_EVERY_S = 0.1
# About 5 MB of requests: 8 s of 1,000 requests per second while a sidecar is started anew.
RING_RECORDS = 8192
# A packet must fit the socket's buffer at once; Linux gives 208 KiB and counts its own overhead within.
PACKET_BYTES = 96 * 2**10
PACKET_RECORDS = 128
# So much is written in one flush, about 2 ms; the loop has other things to do.
FLUSH_PACKETS = 16
# A sidecar hands on what it got within about half a second, and gets it ten times a second.
IN_HAND_S = 1.0

_NO_PART = "0" * PART_SPAN_DIGITS
_FULL = frozenset({errno.EAGAIN, errno.ENOBUFS})

Packed = tuple[Any, ...]
"""A record as a tuple: the tag of its type, then its fields in their order."""


class Recorder:
    """One process's records on their way to its sidecar.

    Args:
        path: of the sidecar's socket.

    Attributes:
        dropped: records lost since the start, by why: ``ring_full``, ``too_large``, ``unencodable``, ``sidecar`` (it
            took none until the end) or ``sidecar_lost`` (it ended with them, as far as can be told: what it was given
            in its last ``IN_HAND_S``).
    """

    def __init__(self, path: str, source: Source) -> None:
        self.dropped: Counter[str] = Counter()
        self._path = path
        self._source = msgspec.structs.astuple(source)
        self._told_drops = 0
        self._in_hand: deque[tuple[float, int]] = deque(maxlen=FLUSH_PACKETS * round(IN_HAND_S / FLUSH_EVERY_S))
        self._ring: list[Packed] = []
        self._socket: socket.socket | None = None
        self._encode = msgspec.msgpack.Encoder().encode
        self._random_bits = random.Random().getrandbits

    def record(self, record: Packed) -> None:
        """Keep one record until the next flush; drop it when the ring is full."""
        if len(self._ring) < RING_RECORDS:
            self._ring.append(record)
        else:
            self.dropped["ring_full"] += 1

    def new_trace_id(self) -> str:
        """Return 32 hex digits that no other trace has."""
        return (self._random_bits(128) | 1).to_bytes(16).hex()

    def new_span_id(self) -> str:
        """Return 16 hex digits whose last four are zero: ids of parts fill them."""
        return (self._random_bits(48) | 1).to_bytes(6).hex() + _NO_PART

    def flush(self) -> None:
        """Write what the sidecar takes now; the rest stays."""
        if not self._ring:
            self._tell_drops()
            return
        sent = 0
        for _ in range(FLUSH_PACKETS):
            records = self._ring[sent : sent + PACKET_RECORDS]
            if not records:
                break
            count = self._send(records)
            sent += count
            if not count:
                break
        del self._ring[:sent]

    def close(self) -> None:
        """Write what the sidecar takes now, and count the rest as lost."""
        self.flush()
        if self._ring:
            self.dropped["sidecar"] += len(self._ring)
            self._ring.clear()
        self._tell_drops()
        self._disconnect()

    def _send(self, records: Sequence[Packed]) -> int:
        """Return how many records are done with: sent, or too large to be sent ever."""
        while True:
            packet = self._packet(records)
            if packet is not None and len(packet) <= PACKET_BYTES:
                return len(records) if self._write(packet, len(records)) else 0
            if len(records) == 1:
                self.dropped["unencodable" if packet is None else "too_large"] += 1
                return 1
            records = records[: len(records) // 2]

    def _tell_drops(self) -> None:
        """Tell what was lost since anybody was told, though there is nothing else to tell."""
        packet = self._packet(()) if self.dropped.total() != self._told_drops else None
        if packet is not None:
            self._write(packet, 0)

    def _packet(self, records: Sequence[Packed]) -> bytes | None:
        try:
            return self._encode((FRAME_VERSION, self._source, wall_offset_ns(), self.dropped, records))
        except (ValueError, TypeError, OverflowError):  # nothing that a request holds may end recording
            return None

    def _write(self, packet: bytes, record_count: int) -> bool:
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as error:
            if error.errno not in _FULL:
                self._note_lost()
                self._disconnect()  # the next flush looks whether there is another
            return False
        self._told_drops = self.dropped.total()
        if record_count:
            self._in_hand.append((time.monotonic(), record_count))
        return True

    def _note_lost(self) -> None:
        """Count what the sidecar may have had in hand when it ended."""
        since_s = time.monotonic() - IN_HAND_S
        self.dropped["sidecar_lost"] += sum(count for sent_s, count in self._in_hand if sent_s >= since_s)
        self._in_hand.clear()
        self.dropped += Counter()  # forgets a zero

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.setblocking(False)
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection

    def _disconnect(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with suppress(OSError):
                connection.close()
