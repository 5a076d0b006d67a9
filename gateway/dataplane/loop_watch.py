"""Loop watch: measures how late a worker's loop is, and says what it was doing when it stood still."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable

BLOCKED_S = 1.0
_LOOK_EVERY_S = 0.5
_MOST_FRAMES = 30


class LoopWatch:
    """A thread looks twice a second whether the loop has beaten lately: only another thread sees where the loop is.

    A loop that is held up inside C code without letting go of the interpreter is seen when it goes on, without a place.

    Args:
        beat_every_s: how often the loop beats when nothing holds it up.
        say: takes a line; called in the watching thread.
    """

    def __init__(self, beat_every_s: float, say: Callable[[str], None]) -> None:
        self._beat_every_s = beat_every_s
        self._say = say
        self._loop_thread = threading.get_ident()
        self._beaten_s = time.monotonic()
        self._is_told = False
        self._worst_lag_s = 0.0
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to look; the loop that is watched runs in the thread that calls this."""
        self._loop_thread = threading.get_ident()
        self._beaten_s = time.monotonic()
        threading.Thread(target=self._run, name="loop watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def beat(self, now_s: float) -> float:
        """The loop runs; return by how much it was late."""
        lag_s = max(0.0, now_s - self._beaten_s - self._beat_every_s)
        self._beaten_s = now_s
        self._worst_lag_s = max(self._worst_lag_s, lag_s)
        if self._is_told or lag_s > BLOCKED_S:
            self._say(f"the loop stood still for {lag_s:.1f} s")
        self._is_told = False
        return lag_s

    def take_worst_lag_s(self) -> float:
        """Return the latest that the loop was since the last time."""
        worst_s, self._worst_lag_s = self._worst_lag_s, 0.0
        return worst_s

    def look(self, now_s: float) -> None:
        """Tell once where the loop stands, if it has stood there for long."""
        if self._is_told or now_s - self._beaten_s - self._beat_every_s <= BLOCKED_S:
            return
        self._is_told = True
        frame = sys._current_frames().get(self._loop_thread)
        if frame is not None:
            stack = traceback.format_stack(frame)[-_MOST_FRAMES:]
            self._say(f"the loop stands still for more than {BLOCKED_S:g} s, here:\n{''.join(stack)}")

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            self.look(time.monotonic())
