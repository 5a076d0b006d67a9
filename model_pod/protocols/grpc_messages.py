"""gRPC's messages: their five bytes of prefix, gzip, and the protobuf classes of the methods that a pod answers.

The classes are made from the descriptors that the gateway shows by reflection, so the two cannot differ.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from model_pod.protocols.exchange import HeaderFields
from model_pod.wire.frames import Buffer
from model_pod.wire.grpc.descriptors import FILE_SET
from model_pod.wire.refusals import Refused

CONTENT_TYPE: Final = b"application/grpc"
METHOD_FIELD: Final = b"grpc-method"
ENCODING_FIELD: Final = b"grpc-encoding"
MESSAGE_TYPE: Final[HeaderFields] = (("content-type", "application/grpc"),)
PREFIX_BYTES: Final = 5
_GZIP = 31  # zlib's number for gzip with the largest window
_GZIP_SIZE_BYTES = 4  # at its end, little endian; zlib compares them with what it has inflated


@cache
def _pool() -> DescriptorPool:
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(FILE_SET.read_bytes()).file:
        pool.Add(file)
    return pool


@cache
def message_class(name: str) -> Any:
    """Return the class of a message by its full name; its fields are known only when it runs."""
    return GetMessageClass(_pool().FindMessageTypeByName(name))


def parsed(message_type: Any, content: Buffer) -> Any:
    """Return a message.

    Raises:
        Refused: ``malformed_body``.
    """
    message: Message = message_type()
    try:
        message.ParseFromString(bytes(content))
    except (DecodeError, UnicodeDecodeError) as error:
        raise Refused("malformed_body", "the message is no protobuf message of this method") from error
    return message


def framed(content: bytes) -> bytes:
    """Return a message with its prefix, not compressed."""
    return b"\x00" + len(content).to_bytes(PREFIX_BYTES - 1) + content


def unframed(body: bytes, most_bytes: int) -> bytes:
    """Return the one message that a body is.

    Args:
        most_bytes: largest message, once it is inflated.

    Raises:
        Refused: ``malformed_body`` or ``body_too_large``.
    """
    if len(body) < PREFIX_BYTES or int.from_bytes(body[1:PREFIX_BYTES]) != len(body) - PREFIX_BYTES or body[0] > 1:
        raise Refused("malformed_body", "the body is not one message of gRPC")
    content = body[PREFIX_BYTES:]
    return _inflated(content, most_bytes) if body[0] else content


def byte_count(body: bytes) -> int:
    """Return how large a body's message is once it is inflated, as its gzip says; ``unframed`` takes no other."""
    return max(len(body), _claimed_bytes(body)) if body[:1] == b"\x01" else len(body)


def _claimed_bytes(gzipped: bytes) -> int:
    return int.from_bytes(gzipped[-_GZIP_SIZE_BYTES:], "little")


def _inflated(content: bytes, most_bytes: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    try:
        message = inflater.decompress(content, min(_claimed_bytes(content), most_bytes) + 1)
    except zlib.error as error:
        raise Refused("malformed_body", "the message is not compressed by gzip") from error
    if len(message) > most_bytes:
        raise Refused("body_too_large", f"the message is larger than {most_bytes} bytes once it is inflated")
    if not inflater.eof or inflater.unused_data:
        raise Refused("malformed_body", "the message's gzip is cut short, or something follows it")
    return message
