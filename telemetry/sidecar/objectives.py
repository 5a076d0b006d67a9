"""Reads the objectives of models from the file that the gateway's supervisor writes, whenever that has changed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from policies.snapshot import Objective
from telemetry.sidecar.events import say

FILE_BYTES = 16 * 2**20

Objectives = dict[str, list[Objective]]

_decode = msgspec.json.Decoder(Objectives).decode


class ObjectivesFile:
    """One file under watch."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._trouble = ""

    def changed(self) -> Objectives | None:
        """Return what the file says, if it is another than before.

        One that is not there yet says nothing, and one that cannot be read changes nothing.
        """
        try:
            status = os.stat(self._path)
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen == self._seen:
                return None
            if status.st_size > FILE_BYTES:
                raise OSError(f"longer than {FILE_BYTES} bytes")
            objectives = _decode(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say_trouble(str(error))
            return None
        self._seen, self._trouble = seen, ""
        return objectives

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            say("", f"objectives cannot be read: {trouble}; what was read before holds")
        self._trouble = trouble
