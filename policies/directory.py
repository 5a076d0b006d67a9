"""Finds and reads the files of a policy directory, never waiting for one and never leaving the directory."""

import itertools
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from policies.document import MAX_FILE_BYTES
from policies.errors import PolicyError, quoted
from policies.kinds import FOLDERS, KINDS, MESH, SUFFIX, Kind, is_meant_as_policy, kind_at
from policies.schema.written import NAME_PATTERN

_NAME: Final = re.compile(NAME_PATTERN)
MAX_FILES: Final = 50_000
MAX_FOLDER_DEPTH: Final = 8


class UnreadableError(Exception):
    """A file's content cannot be taken; the message says why, `fix` what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


def list_policy_files(directory: Path) -> tuple[list[str], list[PolicyError]]:
    """Paths below the directory that the layout knows, in order, and an error for each policy file that it does not.

    What is missing, cannot be listed or stands in the place of a folder is an error too.
    """
    files: list[str] = []
    errors: list[PolicyError] = []
    for path in itertools.islice(_walk(directory, "", errors), MAX_FILES + 1):
        if not kind_at(path):
            errors.append(PolicyError(_shown(path), 1, 1, "no policy file belongs here", _where_it_belongs(path)))
        elif not _NAME.fullmatch(PurePosixPath(path).stem):
            fix = "Begin with a letter, then use letters, digits, dots, underscores or hyphens, at most 63 in all."
            errors.append(PolicyError(_shown(path), 1, 1, "the file's name is not a name", fix))
        else:
            files.append(path)
    if len(files) + len(errors) > MAX_FILES:
        errors.append(PolicyError(".", 1, 1, f"more than {MAX_FILES} policy files", "Remove those of no use."))
    if MESH.place not in files:
        errors.append(PolicyError(MESH.place, 1, 1, "the file is missing", "Add it, with kind: mesh/v1 and a name."))
    return sorted(files), errors


def read_policy_file(directory: Path, path: str, most_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The content of one regular file; one byte more than allowed shows that it is too large.

    Raises:
        UnreadableError: it is no regular file, lies outside the directory, or cannot be opened.
    """
    real = Path(os.path.realpath(directory / path))
    if not real.is_relative_to(os.path.realpath(directory)):
        raise UnreadableError("a link to outside the policy directory", "Put the file itself here.")
    try:
        # A FIFO would make a plain open wait for a writer, and opening some devices has effects.
        if not stat.S_ISREG(real.lstat().st_mode):
            raise UnreadableError("this is not a regular file", "Put a file here, or remove it.")
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableError("this is not a regular file", "Put a file here, or remove it.")
            return file.read(most_bytes + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UnreadableError(f"the file cannot be read: {reason}", "Check that it exists and may be read.") from None


def _walk(directory: Path, below: str, errors: list[PolicyError]) -> Iterator[str]:
    """Every path whose name is meant as policy, in order; hidden folders are passed over."""
    try:
        names = sorted(os.listdir(directory / below))
    except OSError as error:
        problem = f"the folder cannot be listed: {error.strerror or type(error).__name__}"
        errors.append(PolicyError(_shown(below) or ".", 1, 1, problem, "Check that it may be read."))
        return
    for name in names:
        path = f"{below}/{name}" if below else name
        if is_meant_as_policy(name):
            yield path
        elif path in FOLDERS and not (directory / path).is_dir():
            errors.append(PolicyError(path, 1, 1, "this is not a directory", "Make it one, or remove it."))
        elif not name.startswith(".") and _may_enter(directory, path):
            yield from _walk(directory, path, errors)


def _may_enter(directory: Path, path: str) -> bool:
    # A mounted volume links its folders; a link anywhere else could lead round in a circle.
    entry = directory / path
    is_shallow = path.count("/") < MAX_FOLDER_DEPTH
    return is_shallow and entry.is_dir() and (path in FOLDERS or not entry.is_symlink())


def _shown(path: str) -> str:
    return path if path.isprintable() else quoted(path)[1:-1]


def _where_it_belongs(path: str) -> str:
    stem, suffix = os.path.splitext(path)
    meant = kind_at(f"{stem}.yaml") if suffix != SUFFIX else None
    if meant:
        return f"Rename it to {_shown(stem)}{SUFFIX}."
    return f"Policy is in {', '.join(_place(kind) for kind in KINDS)}."


def _place(kind: Kind) -> str:
    return f"{kind.place}/NAME{SUFFIX}" if kind.is_folder else kind.place
