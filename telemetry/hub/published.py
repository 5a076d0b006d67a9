"""``hub.json``: where commands of the same user find the running hub."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct


class RunningHub(Struct, frozen=True):
    """One running hub.

    Attributes:
        dashboards: URL of the pages and the API.
        otlp: URL of the OTLP receiver, "" when it listens on no address.
        otlp_grpc: the same for gRPC.
    """

    pid: int
    dashboards: str
    otlp: str
    otlp_grpc: str = ""


def publish(path: Path, hub: RunningHub) -> None:
    """Write the file for its owner alone, replaced in one step.

    Raises:
        OSError: it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(hub)) + b"\n")
    beside.replace(path)


def withdraw(path: Path, pid: int) -> None:
    """Remove the file, unless another hub has written its own meanwhile."""
    try:
        if msgspec.json.decode(path.read_bytes(), type=RunningHub).pid == pid:
            path.unlink()
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError):
        return
