"""Targets: asks another version what one was asked, where the request names the version that it was for."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from gateway.copies.copied import Copied
from gateway.dataplane.grpc.protobuf import without
from gateway.dataplane.grpc.requests import POD_TYPE
from model_pod.wire.refusals import Refused

# Of the message of a call: a byte that says whether it is compressed, and four of its length.
_PREFIX_BYTES = 5
_VERSION_FIELD = 2


class NotForVersion(Exception):
    """The request names its version where that cannot be taken out."""


def for_version(copied: Copied, version: str) -> Copied:
    """Return the request as a pod of ``version`` takes it.

    Raises:
        NotForVersion: it is a compressed message, whose version is not seen.
    """
    if version == copied.version:
        return copied
    target, body = target_for(copied.target, version), copied.body
    if any(value == POD_TYPE for name, value in copied.fields if name.lower() == b"content-type"):
        body = _message_for_any(body)
    return msgspec.structs.replace(copied, target=target, body=body)


def target_for(target: str, version: str) -> str:
    """Return a target of TorchServe's or the Open Inference Protocol with this version where it names one."""
    path, mark, query = target.partition("?")
    parts = path.split("/")
    match parts:
        case ["", "predictions" | "explanations", _, named, *_] if named:
            parts[3] = quote(version, safe="")
        case ["", "v2", "models", _, "versions", named, *_] if named:
            parts[5] = quote(version, safe="")
    return "/".join(parts) + mark + query


def _message_for_any(body: bytes) -> bytes:
    """Return a call's message that names no version."""
    if len(body) < _PREFIX_BYTES or body[0]:
        raise NotForVersion
    try:
        message = without(body[_PREFIX_BYTES:], _VERSION_FIELD)
    except Refused as error:
        raise NotForVersion from error
    return b"\0" + len(message).to_bytes(4) + message
