"""Frames: one typed message and its blobs, length-prefixed, for a byte stream between two of our own processes.

Layout, little endian: ``u32 head_bytes, u32 blobs_bytes, head, blobs``. The head is one MessagePack array
``[message, [blob lengths]]``; blobs follow it back to back, so a tensor or a body is never copied into the head and
never unpickled. Both ends come from the same installation; a frame that does not decode is a bug, and ends the stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

Buffer = bytes | bytearray | memoryview
Message = TypeVar("Message")

_PREFIX = struct.Struct("<II")
MAX_HEAD_BYTES = 128 * 2**20  # 1,024 rows, each with all the header fields and names that a request may have
MAX_BLOBS_BYTES = 2**31


class BadFrame(Exception):
    """The other end sent bytes that are no frame of ours; the stream cannot be trusted any further."""


def encode(message: msgspec.Struct, blobs: Sequence[Buffer] = ()) -> list[Buffer]:
    """Return the pieces to write, in order; blobs are passed through uncopied.

    Raises:
        ValueError: the head, or the blobs together, are larger than a frame may carry.
    """
    lengths = [memoryview(blob).nbytes for blob in blobs]
    total = sum(lengths)
    if total > MAX_BLOBS_BYTES:
        raise ValueError(f"{total} bytes of blobs do not fit one frame ({MAX_BLOBS_BYTES} bytes at most)")
    head = msgspec.msgpack.encode((message, lengths))
    if len(head) > MAX_HEAD_BYTES:
        raise ValueError(f"a head of {len(head)} bytes does not fit a frame ({MAX_HEAD_BYTES} bytes at most)")
    return [_PREFIX.pack(len(head), total), head, *blobs]


class FrameDecoder(Generic[Message]):
    """Turns a stream of bytes back into (message, blobs); feed it whatever the socket gave."""

    def __init__(
        self,
        message_type: type[Message],
        most_head_bytes: int = MAX_HEAD_BYTES,
        most_blobs_bytes: int = MAX_BLOBS_BYTES,
    ) -> None:
        self._most_head_bytes = most_head_bytes
        self._most_blobs_bytes = most_blobs_bytes
        self._decoder = msgspec.msgpack.Decoder(tuple[message_type, list[int]])  # type: ignore[valid-type]
        self._pending = bytearray()

    def feed(self, data: Buffer) -> Iterator[tuple[Message, list[memoryview]]]:
        """Yield every frame that is now whole; blobs are views of one buffer that belongs to that frame alone.

        Raises:
            BadFrame: the bytes are no frame of ours.
        """
        self._pending += data
        while len(self._pending) >= _PREFIX.size:
            head_bytes, blobs_bytes = _PREFIX.unpack_from(self._pending)
            if head_bytes > self._most_head_bytes or blobs_bytes > self._most_blobs_bytes:
                raise BadFrame(f"a frame of {head_bytes} + {blobs_bytes} bytes is over the limit")
            end = _PREFIX.size + head_bytes + blobs_bytes
            if len(self._pending) < end:
                return
            frame = self._take(end)
            yield self._parse(frame, _PREFIX.size + head_bytes)

    def _take(self, end: int) -> bytearray:
        if len(self._pending) == end:
            frame, self._pending = self._pending, bytearray()
        else:
            frame, self._pending = self._pending[:end], self._pending[end:]
        return frame

    def _parse(self, frame: bytearray, blobs_at: int) -> tuple[Message, list[memoryview]]:
        view = memoryview(frame)
        try:
            message, lengths = self._decoder.decode(view[_PREFIX.size : blobs_at])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadFrame(f"the head of a frame does not decode: {error}") from error
        blobs = []
        for length in lengths:
            blobs.append(view[blobs_at : blobs_at + length])
            blobs_at += length
        if length_mismatch := blobs_at - len(frame):
            raise BadFrame(f"the blobs of a frame are {length_mismatch} bytes off what its head says")
        return message, blobs
