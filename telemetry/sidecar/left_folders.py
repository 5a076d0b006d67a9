"""Folders of spans whose sidecars do not come back: another sidecar sends what is in them, or it is given up by age.

Pods come and go, and each has a folder by its name. One that nobody has used for a minute is emptied into the folder of
the sidecar that looks, as far as that has room; nothing of its own gives way to what others left.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from telemetry.logs.line import warning
from telemetry.sidecar.events import say
from telemetry.sidecar.spool import SUFFIX, Spool
from telemetry.sidecar.stored_queue import StoredQueue

LOOK_EVERY_S = 5.0
FREE_FOR_S = 60.0
"""So long nobody must have used a folder: a sidecar that is started again takes its own."""
KEPT_FOR_S = 24 * 3600.0
"""Since something was written there."""
MOST_BYTES = 256 * 2**20
"""Of all folders that were left, beside what each sidecar has itself; beyond, the oldest is given up."""
MOST_FOLDERS = 1024
"""That are looked at in one look; where there are more, each look goes on where the last one ended."""
PARCELS = 16
"""That are taken over in one look."""


class LeftFolder(Struct, frozen=True):
    """One folder that no sidecar uses.

    Attributes:
        changed_s: when spans were written there last, by the wall's time; 0 where none are.
    """

    path: Path
    size_bytes: int
    changed_s: float


def given_up(folders: Sequence[LeftFolder], wall_s: float) -> list[LeftFolder]:
    """Return the folders that are too old, or too much together, the oldest first."""
    gone, kept_bytes = [], sum(folder.size_bytes for folder in folders)
    for folder in sorted(folders, key=lambda one: one.changed_s):
        if wall_s - folder.changed_s > KEPT_FOR_S or kept_bytes > MOST_BYTES:
            gone.append(folder)
            kept_bytes -= folder.size_bytes
    return gone


class _Free(NamedTuple):
    """A folder that was free when it was looked at last, and since when it was."""

    folder: LeftFolder
    since_s: float


class LeftFolders:
    """What is below one directory.

    Args:
        queue: takes what is found, while less than half of its room is taken.
        room_bytes: that it has.
        most: so many folders are looked at in one look.
    """

    def __init__(self, root: Path, queue: StoredQueue, room_bytes: int, most: int = MOST_FOLDERS) -> None:
        self._root = root
        self._queue = queue
        self._room_bytes = room_bytes
        self._most = most
        self._last_name = ""
        self._free: dict[str, _Free] = {}
        self._are_too_many = False

    async def tend_for_ever(self) -> None:
        """Look after them."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await self.tend(asyncio.get_running_loop().time(), time.time())

    async def tend(self, now_s: float, wall_s: float) -> None:
        """Take over some of the oldest folder, and give up those that are too many or too old."""
        names = await asyncio.to_thread(_names, self._root)
        turn = self._next_turn(names)
        found = await asyncio.to_thread(lambda: list(_free_folders(self._root, turn)))
        self._note(names, turn, found, now_s)
        ripe = [one.folder for one in self._free.values() if now_s - one.since_s >= FREE_FOR_S]
        # Of the others it is not known whether somebody uses them now.
        looked_at = set(found)
        seen = [folder for folder in ripe if folder in looked_at]
        gone = [folder for folder in given_up(ripe, wall_s) if folder in looked_at]
        for folder in gone:
            count = await self._queue.abandon(folder.path)
            if count:
                say("", warning(f"{count} spans that the sidecar of {folder.path.name} left are given up"))
        given_away = set(gone)
        for folder in sorted(seen, key=lambda one: one.changed_s):
            has_room = self._queue.waiting_bytes < self._room_bytes / 2
            if folder not in given_away and (not has_room or not await self._queue.take_over(folder.path, PARCELS)):
                return

    def _next_turn(self, names: Sequence[str]) -> list[str]:
        """Return the folders to be looked at now, and tell once when these are not all."""
        are_too_many = len(names) > self._most
        if are_too_many and not self._are_too_many:
            round_s = -(-len(names) // self._most) * LOOK_EVERY_S
            say("", warning(self._told_of_too_many(len(names), round_s)))
        self._are_too_many = are_too_many
        first = bisect_right(names, self._last_name) if are_too_many else 0
        turn = [*names[first:], *names[:first]][: self._most]
        self._last_name = turn[-1] if turn else ""
        return turn

    def _told_of_too_many(self, count: int, round_s: float) -> str:
        return (
            f"{self._root} has {count} folders, of which {self._most} are looked at every {LOOK_EVERY_S:g} s: what "
            f"sidecars left there is found within {round_s:g} s; remove folders that hold no spans, if any do"
        )

    def _note(self, names: Sequence[str], turn: Sequence[str], found: Sequence[LeftFolder], now_s: float) -> None:
        before, there, looked_at = self._free, set(names), set(turn)
        self._free = {name: one for name, one in before.items() if name in there and name not in looked_at}
        for folder in found:
            known = before.get(folder.path.name)
            self._free[folder.path.name] = _Free(folder, known.since_s if known else now_s)


def _names(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir())
    except OSError:
        return []


def _free_folders(root: Path, names: Sequence[str]) -> Iterator[LeftFolder]:
    for path in (root / name for name in names):
        try:
            if Spool.is_free(path):
                sizes = [file.stat().st_size for file in path.iterdir()]
                written_s = [file.stat().st_mtime for file in path.glob(f"*{SUFFIX}")]
                yield LeftFolder(path, sum(sizes), max(written_s, default=0.0))
        except OSError:
            continue  # it was removed meanwhile
