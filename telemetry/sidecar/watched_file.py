"""Reads what policy says to sidecars, objectives by model or keys of attributes, whenever its JSON file changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from telemetry.logs.line import warning
from telemetry.sidecar.events import say

FILE_BYTES = 16 * 2**20

Content = TypeVar("Content")


class WatchedFile(Generic[Content]):
    """One file under watch.

    Args:
        kind: the type that it holds.
        what: it holds, for people.
    """

    def __init__(self, path: str, kind: type[Content], what: str) -> None:
        self._path = Path(path)
        self._decode = msgspec.json.Decoder(kind).decode
        self._what = what
        self._seen: tuple[int, int, int] | None = None
        self._trouble = ""

    def changed(self) -> Content | None:
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
            data = self._path.read_bytes()
            self._seen = seen  # broken or not: only another is looked at again
            content = self._decode(data)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say_trouble(str(error))
            return None
        self._trouble = ""
        return content

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            say("", warning(f"{self._what} cannot be read: {trouble}; what was read before holds"))
        self._trouble = trouble
