"""Looks at something again and again while its reader's keys are answered at once."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct

from deploy.commands.running_mesh import NotReachable
from deploy.commands.screens.terminal import Terminal

# A window whose size changes sends nothing that a thread without signals would hear.
REDRAW_S = 0.25

Seen = TypeVar("Seen")
State = TypeVar("State")


class Latest(Struct, Generic[Seen], frozen=True):
    """What was seen last, None before the first time; and why that is old, "" when it is not."""

    seen: Seen | None = None
    error: str = ""


class Watcher(Generic[Seen]):
    """Looks every so often in a thread of its own, for a look may take as long as a mesh that hangs."""

    def __init__(self, look: Callable[[], Seen], interval_s: float) -> None:
        self._look = look
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="look", daemon=True)
        self.wake_fd, self._wakes_fd = os.pipe()
        os.set_blocking(self._wakes_fd, False)
        self.latest: Latest[Seen] = Latest()

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def end(self) -> None:
        """Begin no further look; one that is under way is not waited for."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.is_set():
            began_s = time.monotonic()
            try:
                self.latest = Latest(self._look())
            except NotReachable as error:
                self.latest = Latest(self.latest.seen, str(error))
            self._wake()
            self._ended.wait(max(0.0, self._interval_s - (time.monotonic() - began_s)))

    def _wake(self) -> None:
        try:
            os.write(self._wakes_fd, b"\0")
        except BlockingIOError:
            return  # it has yet to read what woke it before


def live(
    look: Callable[[], Seen],
    interval_s: float,
    state: State,
    pressed: Callable[[State, str, Seen | None], State | None],
    drawn: Callable[[Latest[Seen], State, tuple[int, int]], list[str]],
) -> Latest[Seen]:
    """Show what is seen until its reader leaves; return what was seen last.

    Args:
        pressed: the state after a key; None when the reader leaves.
        drawn: the lines for a terminal of so many columns and rows.
    """
    watcher = Watcher(look, interval_s)
    watcher.start()
    now: State | None = state
    try:
        with Terminal() as terminal:
            while now is not None:
                terminal.draw(drawn(watcher.latest, now, terminal.size))
                for key in terminal.keys(watcher.wake_fd, REDRAW_S):
                    now = pressed(now, key, watcher.latest.seen) if now is not None else None
    finally:
        watcher.end()
    return watcher.latest
