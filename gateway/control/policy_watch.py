"""Notices that the policy directory has changed and that nobody is still writing in it.

``decide`` says when a set of files is complete enough to be read; the rest looks at files. What the files mean is not
known here.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

STABLE_S = 0.3
LOOK_EVERY_S = 0.1
# A look may cost a tenth of the time, so that 10,000 tenants do not keep a core busy.
_LOOK_COST_FACTOR = 10.0
# Deeper folders are no part of a policy directory.
_DEPTH = 4

FileStamp = tuple[int, int, int, int]
Signature = tuple[tuple[str, FileStamp], ...]
"""Every file's path inside the directory with (inode, size, mtime_ns, ctime_ns), by path."""


class Seen(Struct, frozen=True):
    """What earlier looks found.

    Attributes:
        loaded: the signature of the set that was read last, refused or not; None before the first.
        candidate: the signature at the last look.
        since_s: when a look first found the candidate.
    """

    loaded: Signature | None
    candidate: Signature
    since_s: float


class Wait(Struct, frozen=True):
    """Nothing to read yet."""

    seen: Seen


class Load(Struct, frozen=True):
    """Read the set, if no file of ``changed`` is open for writing."""

    seen: Seen
    changed: tuple[str, ...]


def decide(seen: Seen, signature: Signature, now_s: float) -> Wait | Load:
    """Say whether a set that differs from the one read last has been the same for long enough."""
    if signature != seen.candidate:
        return Wait(Seen(seen.loaded, signature, now_s))
    if signature == seen.loaded or now_s - seen.since_s < STABLE_S:
        return Wait(seen)
    return Load(seen, changed_files(seen.loaded or (), signature))


def changed_files(before: Signature, after: Signature) -> tuple[str, ...]:
    """Return the files of ``after`` that are new or differ; one that is gone cannot be written to."""
    known = dict(before)
    return tuple(path for path, stamp in after if known.get(path) != stamp)


def read_signature(directory: Path) -> Signature:
    """Look at every file's stamp; a directory that cannot be read looks empty, and loading says why."""
    return tuple(sorted(_stamps(directory, "", _DEPTH)))


def _stamps(directory: Path, prefix: str, depth: int) -> Iterable[tuple[str, FileStamp]]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        path = directory / name
        if name.startswith("."):
            continue  # a mounted ConfigMap's ..data is seen through the links that point into it
        try:
            status = path.stat()
        except OSError:
            continue
        if not path.is_dir():
            yield f"{prefix}{name}", (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        elif depth > 1:
            yield from _stamps(path, f"{prefix}{name}/", depth - 1)


def open_for_writing(directory: Path, files: Iterable[str]) -> tuple[str, ...]:
    """Return those files that some process holds open for writing, as far as the file system can say."""
    return tuple(name for name in files if _is_open_for_writing(directory / name))


def _is_open_for_writing(path: Path) -> bool:
    """Ask the kernel for a read lease, which it refuses while there is a writer, and give it back at once."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # A writer that opens the file in this very moment makes the kernel send a signal; SIGIO would end us.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        # Any other error means that this file system or user has no leases: the stable time has to do.
        return error.errno == errno.EAGAIN
    finally:
        os.close(descriptor)
    return False


class PolicyWatch:
    """Looks at one directory, again and again; whoever owns it asks when to look and acts on the answer.

    Attributes:
        busy: changed files that were open for writing at the last look.
        look_again_s: seconds until the next look.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.busy: tuple[str, ...] = ()
        self.look_again_s = LOOK_EVERY_S
        self._seen = Seen(loaded=None, candidate=(), since_s=0.0)

    @property
    def is_quick(self) -> bool:
        """Whether the last look was too short to be worth a thread."""
        return self.look_again_s == LOOK_EVERY_S

    def look_at_start(self) -> Signature:
        """Return the set that is there; a start waits for writers, noted in ``busy``, and not for the stable time."""
        signature = read_signature(self.directory)
        self.busy = open_for_writing(self.directory, changed_files((), signature))
        return signature

    def look(self, now_s: float) -> Signature | None:
        """Return the signature of a set that is complete and was not read before, if there is one now."""
        began_s = time.monotonic()
        answer = decide(self._seen, read_signature(self.directory), now_s)
        self._seen = answer.seen
        self.busy = open_for_writing(self.directory, answer.changed) if isinstance(answer, Load) else ()
        self.look_again_s = max(LOOK_EVERY_S, _LOOK_COST_FACTOR * (time.monotonic() - began_s))
        return answer.seen.candidate if isinstance(answer, Load) and not self.busy else None

    def has_changed_since(self, signature: Signature) -> bool:
        """Whether somebody wrote while the set was being read, so that what was read counts for nothing."""
        return read_signature(self.directory) != signature

    def remember(self, signature: Signature) -> None:
        """This set has been read and judged; look for another."""
        self._seen = Seen(loaded=signature, candidate=signature, since_s=self._seen.since_s)
