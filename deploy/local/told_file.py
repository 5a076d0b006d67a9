"""A file in which the mesh tells other programs something: replaced whole when that changes, and never in the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class ToldFile:
    """One file.

    What cannot be written costs its readers the news and the mesh nothing: it is said once, and tried again at each
    call. The file is for its owner alone. It is not forced to the disk, which could make the mesh wait: what it holds
    is written anew at every start.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._path = path
        self._say = say
        self._told: bytes | None = None
        self._trouble = ""

    def tell(self, content: bytes) -> None:
        """Let the file say this."""
        if content == self._told:
            return
        try:
            self._replace(content)
        except OSError as error:
            self._say_trouble(error.strerror or str(error))
            return
        self._told, self._trouble = content, ""

    def _replace(self, content: bytes) -> None:
        beside = self._path.with_name(f".{self._path.name}.new")  # one name: trouble leaves one file behind at most
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        beside.replace(self._path)

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._say(f"mesh: {self._path} cannot be written ({trouble}); it says what it said before")
        self._trouble = trouble
