"""Keeps a pod's windows on disk over restarts, and has its version judged now and again."""

from __future__ import annotations

from pathlib import Path

from policies.snapshot.watching import Drift
from telemetry.drift.files import BadWindows, VersionFiles, read_windows, write_windows
from telemetry.drift.reports import VersionReport
from telemetry.drift.windows import Kept
from telemetry.sidecar.drift_book import DriftBook
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.events import say
from telemetry.sidecar.watched_file import WatchedFile
from telemetry.stats.drift import Says

EVERY_S = 3.0
SET_ASIDE = ".broken"


class DriftKeeper:
    """A book of windows and its file, ``DIRECTORY/MODEL/VERSION/POD.windows``.

    Args:
        settings: file of how each model is watched.
        now_s: monotonic.
    """

    def __init__(self, path: Path, settings: str, drops: Drops, now_s: float) -> None:
        model, version = path.parent.parent.name, path.parent.name
        self._path = path
        self._name = f"{model}/{version}"
        self._model, self._version = model, version
        self._drops = drops
        self._settings = WatchedFile(settings, dict[str, Drift], "what is watched")
        self._files = VersionFiles(path.parent.parent.parent, self._say_trouble)
        self._trouble = ""
        self._due_s = now_s
        self.book = DriftBook(model, version, self._read(), drops)

    def tick(self, now_s: float, wall_s: float) -> None:
        """Heed what policy says now; keep and judge when it is time."""
        settings = self._settings.changed()
        if settings is not None:
            self.book.heed(settings.get(self._model))
        if now_s < self._due_s:
            return
        self._due_s = now_s + EVERY_S
        self.save()
        if self.book.drift is not None:
            self._note(self._files.judged(self._model, self._version, self.book.drift, wall_s))

    def save(self) -> None:
        """Write what was counted since the last time; what cannot be written is tried again, and counted meanwhile."""
        if not self.book.is_changed:
            return
        try:
            write_windows(self._path, self.book.windows, self.book.window_s)
        except OSError as error:
            self._drops.add("window_saves", "failed")
            self._say_trouble(f"{self._path} cannot be written: {error.strerror or error}")
            return
        self.book.is_changed = False
        self._trouble = ""

    def _note(self, report: VersionReport) -> None:
        before, self.book.report = self.book.report, report
        was_drifting = before is not None and before.says == Says.DRIFTS
        if report.says == Says.DRIFTS and not was_drifting:
            say(self._name, f"inputs or outputs have drifted: `penstock drift {self._model}` shows which")
        elif was_drifting and report.says != Says.DRIFTS:
            say(self._name, "inputs and outputs drift no more")

    def _read(self) -> Kept:
        try:
            return read_windows(self._path)
        except FileNotFoundError:
            return Kept(0.0, {})
        except (OSError, BadWindows) as error:
            self._drops.add("windows", "damaged_file")
            self._say_trouble(f"{self._path} cannot be used ({error}); it is set aside as {self._path.name}{SET_ASIDE}")
            self._set_aside()
            return Kept(0.0, {})

    def _set_aside(self) -> None:
        try:
            self._path.replace(self._path.with_name(self._path.name + SET_ASIDE))
        except OSError as error:
            self._say_trouble(f"{self._path} cannot be set aside: {error.strerror or error}")

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            say(self._name, trouble)
        self._trouble = trouble
