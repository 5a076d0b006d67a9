"""A sealed directory: a manifest of its files' digests, without which nothing of it is taken.

Who seals says: these files, byte for byte, and no others. A file that is half written, a copy that is not complete, a
set of which only some files have arrived: none of them matches, and they stay out as a whole.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from policies.directory import UnreadableError, list_policy_files, read_policy_file
from policies.errors import PolicyError, quoted

SEAL_FILE: Final = "seal.json"
ALGORITHM: Final = "sha256"
MAX_SEAL_BYTES: Final = 16 * 1024 * 1024
_AGAIN: Final = "If it is meant, run penstock policy seal DIR again."
_PUT_BACK: Final = f"Put the file back as it was sealed. {_AGAIN}"


class Seal(Struct, frozen=True, forbid_unknown_fields=True):
    """What `seal.json` says.

    Attributes:
        made_at: UTC, RFC 3339.
        files: digest of each policy file, by its path below the directory.
    """

    algorithm: str
    made_at: str
    files: dict[str, str]


def digest_of(content: bytes) -> str:
    """What stands in a seal for a file with this content."""
    return hashlib.sha256(content).hexdigest()


def is_sealed(directory: Path) -> bool:
    """Whether the directory has a seal, be it a good one or not."""
    return os.path.lexists(directory / SEAL_FILE)


def check(directory: Path, digests: Mapping[str, str]) -> list[PolicyError]:
    """What keeps a directory from being taken: nothing, where it has no seal.

    Args:
        digests: of the files as they have been read, by path; of those that could not be read there is none.
    """
    if not is_sealed(directory):
        return []
    try:
        seal = _read(directory)
    except UnreadableError as error:
        return [PolicyError(SEAL_FILE, 1, 1, error.problem, error.fix)]
    return compare(seal, digests)


def compare(seal: Seal, digests: Mapping[str, str]) -> list[PolicyError]:
    """Each file that is not as the seal says, by path."""
    if seal.algorithm != ALGORITHM:
        problem = f"the algorithm {quoted(seal.algorithm)} is not known here, only {ALGORITHM} is"
        return [PolicyError(SEAL_FILE, 1, 1, problem, "Run penstock policy seal DIR again.")]
    errors = []
    for path in sorted(seal.files.keys() | digests.keys()):
        if path not in digests:
            problem = f"the seal names {quoted(path)}, which is missing or cannot be read"
            errors.append(PolicyError(SEAL_FILE, 1, 1, problem, _PUT_BACK))
        elif path not in seal.files:
            fix = f"Remove the file. {_AGAIN}"
            errors.append(PolicyError(path, 1, 1, "the seal of this directory does not name this file", fix))
        elif seal.files[path] != digests[path]:
            errors.append(PolicyError(path, 1, 1, "the file is not the one that was sealed", _PUT_BACK))
    return errors


def make(directory: Path, made_at: str) -> Seal:
    """The seal of a directory as it is now; of what cannot be read it says nothing."""
    return Seal(ALGORITHM, made_at, digests_of(directory))


def text_of(seal: Seal) -> bytes:
    """A seal as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(seal)) + b"\n"


def digests_of(directory: Path) -> dict[str, str]:
    """The digest of each policy file that can be read, by path."""
    digests = {}
    for path in list_policy_files(directory)[0]:
        try:
            digests[path] = digest_of(read_policy_file(directory, path))
        except UnreadableError:
            continue
    return digests


def _read(directory: Path) -> Seal:
    content = read_policy_file(directory, SEAL_FILE, MAX_SEAL_BYTES)
    try:
        return msgspec.json.decode(content, type=Seal)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        problem = "this is no seal, or it is not written to its end"
        raise UnreadableError(problem, "Run penstock policy seal DIR again, or remove it.") from error
