"""Which names an archive's entries may have: plain, relative, distinct everywhere, no Python start-up hook."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field

from model_pod.engine.extraction.limits import ArchiveRefused

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255

_PLAIN = re.compile(r"[A-Za-z0-9._ -]+(/[A-Za-z0-9._ -]+)*")
# Python runs these by itself, or reads them instead of the source that was reviewed.
_HOOKS = frozenset(("sitecustomize.py", "usercustomize.py", "__pycache__"))
# An archive that could replace these would replace the server's own code.
_SHADOWED = frozenset(("torch", "ts", "torch.py", "ts.py"))


def is_safe_name(name: str) -> bool:
    """Return whether a name is a plain relative path that means the same on every file system."""
    if len(name) > MAX_NAME_BYTES or _PLAIN.fullmatch(name) is None:
        return False
    return all(_is_safe_part(part) for part in name.split("/"))


def _is_safe_part(part: str) -> bool:
    return len(part) <= MAX_PART_BYTES and part.strip(" ") == part and not part.startswith(".") and part[-1] != "."


def check_names_together(names: list[str]) -> None:
    """Refuse names that are dangerous by their place in the tree, after a single top directory was stripped.

    Raises:
        ArchiveRefused: a file would run by itself when Python starts, or hide a package of the server.
    """
    for name in names:
        parts = name.split("/")
        if any(part.casefold() in _HOOKS for part in parts):
            raise ArchiveRefused("reserved_name", f"{name!r:.120}: Python acts on this name by itself; leave it out.")
        if parts[0].casefold() in _SHADOWED:
            raise ArchiveRefused("shadowing_name", f"{name!r} would hide the package {parts[0].split('.')[0]!r}.")


@dataclass(slots=True)
class NameLedger:
    """Every name of one archive so far; refuses the one that is unsafe or collides with another."""

    _files: set[str] = field(default_factory=set)
    _directories: set[str] = field(default_factory=set)

    def enter(self, name: str, *, is_directory: bool) -> None:
        """Record a name.

        Raises:
            ArchiveRefused: the name is unsafe, is there already, or is a file where a directory is due.
        """
        if not is_safe_name(name):
            raise ArchiveRefused("unsafe_name", f"{name!r:.120} is not a plain relative name inside the archive.")
        key = unicodedata.normalize("NFC", name).casefold()
        parents = [key[:index] for index, character in enumerate(key) if character == "/"]
        if any(parent in self._files for parent in parents):
            raise ArchiveRefused("name_clash", f"{name!r} lies below a name that is a file.")
        self._directories.update(parents)
        if is_directory:
            self._enter_directory(name, key)
        else:
            self._enter_file(name, key)

    def _enter_directory(self, name: str, key: str) -> None:
        if key in self._files:
            raise ArchiveRefused("name_clash", f"{name!r} is a file and a directory.")
        self._directories.add(key)

    def _enter_file(self, name: str, key: str) -> None:
        if key in self._directories:
            raise ArchiveRefused("name_clash", f"{name!r} is a file and a directory.")
        if key in self._files:
            raise ArchiveRefused("duplicate_name", f"{name!r} is there twice (upper and lower case count as one).")
        self._files.add(key)
