"""Reads what the supervisor publishes, whenever it changes: the desired pods, and the policy in force."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.control import last_good
from gateway.control.desired_pods import FILE_NAME, DesiredPod, DesiredPods
from policies.snapshot.generation import Snapshot

_Stamp = tuple[int, int, int]


class DesiredFile:
    """The file in the state directory, looked at as often as wanted: an unchanged one is not read again."""

    def __init__(self, state_dir: Path, say: Callable[[str], None]) -> None:
        self._path = state_dir / FILE_NAME
        self._say = say
        self._stamp: _Stamp | None = None
        self._pods: tuple[DesiredPod, ...] = ()
        self._trouble = ""

    def forget_earlier(self) -> None:
        """Remove what an earlier mesh left, so that nothing starts which today's policy does not ask for.

        Raises:
            OSError: the file is there and cannot be removed.
        """
        self._path.unlink(missing_ok=True)

    def pods(self) -> tuple[DesiredPod, ...]:
        """Return what is desired now; what was desired last while the file cannot be read."""
        stamp = _stamp_of(self._path)
        if stamp is not None and stamp != self._stamp:
            self._read(stamp)
        return self._pods

    def _read(self, stamp: _Stamp) -> None:
        try:
            data = self._path.read_bytes()
            self._stamp = stamp  # broken or not: only another is read again
            self._pods = msgspec.json.decode(data, type=DesiredPods).pods
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say_trouble(str(error))
            return
        self._trouble = ""

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._say(f"mesh: {self._path} cannot be read, pods stay as they are: {trouble}")
        self._trouble = trouble


class InForceFile:
    """The policy in force, looked at as often as wanted: an unchanged one is not read again."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._stamp: _Stamp | None = None
        self._snapshot: Snapshot | None = None

    def read(self) -> Snapshot | None:
        """Return the generation in force, None before there was any; the last one while the file cannot be read."""
        stamp = _stamp_of(self._state_dir / last_good.FILE_NAME)
        if stamp is not None and stamp != self._stamp:
            kept = last_good.recall(self._state_dir)
            if kept is not None:  # else it is tried again: what the disk refuses now it may give later
                self._stamp, self._snapshot = stamp, kept.snapshot
        return self._snapshot


def _stamp_of(path: Path) -> _Stamp | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
