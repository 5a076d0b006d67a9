"""The generations that were in force, kept in the state directory so that a past decision can be explained."""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec

from policies.snapshot.generation import Snapshot

FOLDER = "generations"
MAX_GENERATIONS = 1000
MAX_BYTES = 64 * 2**20
_SUFFIX = ".msgpack.zlib"
_LEVEL = 1
# A generation of 100,000 tenants has a fraction of it.
_UNPACKED_BYTES = 1024 * 2**20


def keep(state_dir: Path, snapshot: Snapshot) -> None:
    """Keep a generation, and delete the oldest beyond what is kept.

    Raises:
        OSError: the disk is full or the directory is gone.
    """
    folder = state_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    beside = folder / f".{snapshot.generation}"
    # Its loss would cost an explanation: not worth waiting for the disk.
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(zlib.compress(msgspec.msgpack.encode(snapshot), _LEVEL))
    beside.replace(folder / f"{snapshot.generation}{_SUFFIX}")
    kept = _kept(folder)
    for number in _superfluous({number: _size(path) for number, path in kept.items()}):
        kept[number].unlink(missing_ok=True)


def recall(state_dir: Path, generation: int) -> Snapshot | None:
    """Return a generation, or None when it is not kept or this release cannot read it."""
    try:
        packed = (state_dir / FOLDER / f"{generation}{_SUFFIX}").read_bytes()
        unpacker = zlib.decompressobj()
        snapshot = msgspec.msgpack.decode(unpacker.decompress(packed, _UNPACKED_BYTES), type=Snapshot)
    except (OSError, zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return snapshot if unpacker.eof else None


def highest(state_dir: Path) -> int:
    """Return the highest number that a kept generation has, 0 without any."""
    with suppress(OSError):
        return max(_kept(state_dir / FOLDER), default=0)
    return 0


def _kept(folder: Path) -> dict[int, Path]:
    names = ((path.name.removesuffix(_SUFFIX), path) for path in folder.iterdir() if path.name.endswith(_SUFFIX))
    return {int(name): path for name, path in names if name.isascii() and name.isdigit()}


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _superfluous(sizes: dict[int, int]) -> list[int]:
    """Return which generations must go: the oldest, but never the newest."""
    total, gone = 0, []
    for count, number in enumerate(sorted(sizes, reverse=True)):
        total += sizes[number]
        if count and (count >= MAX_GENERATIONS or total > MAX_BYTES):
            gone.append(number)
    return gone
