"""Where windows are kept: ``DIRECTORY/MODEL/VERSION/POD.windows``, of each pod one, replaced whole by its sidecar."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from policies.snapshot.watching import Drift
from telemetry.drift.fields import is_field
from telemetry.drift.judging import judge
from telemetry.drift.reports import DriftReport, VersionReport, in_brief, unjudged
from telemetry.drift.windows import KEPT, MAX_PLACES, Kept, Windows, together

FORMAT = 2
DIRECTORY = "drift"
"""In a mesh's state directory."""
SUFFIX = ".windows"
FILE_BYTES = 64 * 2**20
MAX_PODS = 256
BRIEF_WITHIN_S = 0.5
"""So long brief reports of many versions take; who was not looked at for longest is looked at first."""
BRIEF_FOR_S = 3.0
"""A brief report is not made anew before."""

Stamp = tuple[int, int, int]


class BadWindows(Exception):
    """A file holds no windows of ours; the message says why."""


class _File(Struct, array_like=True):
    format: int
    window_s: float
    windows: Windows


def read_windows(path: Path) -> Kept:
    """Return what a file holds.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
        BadWindows: it holds something else.
    """
    with path.open("rb") as file:
        data = file.read(FILE_BYTES + 1)
    try:
        kept = msgspec.msgpack.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadWindows(str(error)) from error
    if kept.format != FORMAT:
        raise BadWindows(f"it has the format {kept.format}, and this is {FORMAT}")
    if len(kept.windows) > (2 + MAX_PLACES) * KEPT or any(len(places) > MAX_PLACES for places in kept.windows.values()):
        raise BadWindows("it has more windows or parts than there can be")
    if not all(is_field(field) for places in kept.windows.values() for field in places.values()):
        raise BadWindows("a count is out of bounds")
    return Kept(kept.window_s, kept.windows)


def write_windows(path: Path, windows: Windows, window_s: float) -> None:
    """Replace a file.

    Raises:
        OSError: the disk is full, or it may not be written.
    """
    content = msgspec.msgpack.encode(_File(FORMAT, window_s, windows))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    beside.replace(path)


class VersionFiles:
    """The windows of versions, read again only where a file changed.

    Args:
        trouble: told of a file that cannot be used; the version is judged without it.
    """

    def __init__(self, directory: Path, trouble: Callable[[str], None]) -> None:
        self._directory = directory
        self._trouble = trouble
        self._read: dict[Path, tuple[Stamp, Kept]] = {}
        self._briefs: dict[tuple[str, str], VersionReport] = {}

    def windows(self, model: str, version: str, window_s: float) -> Windows:
        """Return the windows of all pods of a version, without those of pods that still count by another length."""
        folder = self._directory / model / version
        paths = sorted(folder.glob(f"*{SUFFIX}"))[:MAX_PODS]
        for gone in [path for path in self._read if path.parent == folder and path not in paths]:
            del self._read[gone]
        return together([kept.windows for kept in map(self._kept, paths) if kept.window_s == window_s])

    def report(self, watched: Mapping[str, Drift], served: Mapping[str, frozenset[str]], now_s: float) -> DriftReport:
        """Return what is to be said of all versions that are served and watched.

        Args:
            watched: by model.
            served: versions by model.
        """
        reports = [
            self.judged(model, version, drift, now_s)
            for model, drift in sorted(watched.items())
            for version in sorted(served.get(model, frozenset()))
        ]
        return DriftReport(now_s, tuple(reports))

    def brief(self, watched: Mapping[str, Drift], served: Mapping[str, frozenset[str]], now_s: float) -> DriftReport:
        """Return in brief what is to be said of all versions; of some it may be what was found a while ago.

        To judge hundreds of versions takes minutes, and nobody waits for that: each call goes on where the last ended.
        """
        names = [(model, version) for model in sorted(watched) for version in sorted(served.get(model, frozenset()))]
        self._briefs = {name: brief for name, brief in self._briefs.items() if name in set(names)}
        until_s = time.monotonic() + BRIEF_WITHIN_S
        for name in sorted(names, key=self._briefed_s):
            if time.monotonic() >= until_s:
                break
            # A clock that was set back must not keep what is shown old.
            if not 0.0 <= now_s - self._briefed_s(name) < BRIEF_FOR_S:
                self._briefs[name] = in_brief(self.judged(*name, watched[name[0]], now_s))
        known = (self._briefs.get(name) or unjudged(*name, watched[name[0]]) for name in names)
        return DriftReport(now_s, tuple(known))

    def _briefed_s(self, name: tuple[str, str]) -> float:
        brief = self._briefs.get(name)
        return brief.judged_s if brief else 0.0

    def judged(self, model: str, version: str, drift: Drift, now_s: float) -> VersionReport:
        """Return what is to be said of one version."""
        own = self.windows(model, version, drift.window_s)
        is_own = drift.reference in ("", version)
        reference = own if is_own else self.windows(model, drift.reference, drift.window_s)
        return judge(model, version, drift, own, reference, now_s)

    def _kept(self, path: Path) -> Kept:
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._read.get(path)
            if known is None or known[0] != stamp:
                known = self._read[path] = (stamp, read_windows(path))
        except FileNotFoundError:
            return Kept(0.0, {})
        except (OSError, BadWindows) as error:
            self._trouble(f"{path} cannot be used: {error}")
            return Kept(0.0, {})
        return known[1]
