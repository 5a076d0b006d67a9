"""Prints one line per event, without ever making the mesh wait for the terminal."""

from __future__ import annotations

import queue
import sys
import threading
import time
from contextlib import suppress
from typing import TextIO

from telemetry.logs.line import Facts, Format, as_json, as_line, as_text, record_of
from telemetry.logs.log import event_at

_MESH = Facts(process="mesh")
MAX_WAITING_LINES = 10_000
CLOSE_WITHIN_S = 1.0


class EventLog:
    """A bounded queue of lines and the thread that prints them.

    A paused terminal (or a pipe nobody reads) would block whoever prints, and the mesh watches its processes in the
    thread that has the events. When the queue is full, lines are dropped and counted, and the count is printed.

    Args:
        form: of events; None leaves it to policy, and is text where that says nothing: whoever runs ``penstock up``
            looks at it. What is said to be copied is never JSON.
    """

    def __init__(self, out: TextIO = sys.stdout, form: Format | None = None) -> None:
        self._out = out
        self._form = form
        self._is_json = form == "json"
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._print_lines, name="events", daemon=True)
        self._thread.start()

    def event(self, text: str) -> None:
        """Print an event: with the time of day before it, or for programs as JSON."""
        now_s, line = time.time(), as_line(text)
        if self._is_json:
            record = record_of(line, _MESH, event_at(sys._getframe(1)), now_s)
            self.plain(as_json(record).decode().rstrip())
            return
        clock = time.strftime("%H:%M:%S", time.localtime(now_s))
        for part in as_text("", line).splitlines():
            self.plain(f"{clock}.{int(now_s % 1 * 1000):03d} {part}")

    def follow(self, form: str) -> None:
        """Print events as policy says, unless whoever started the mesh says otherwise."""
        if self._form is None:
            self._is_json = form == "json"

    def plain(self, line: str) -> None:
        """Print a line as it is, to be copied by whoever reads it."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1
            return
        if self._dropped and self._lines.qsize() < MAX_WAITING_LINES // 2:
            dropped, self._dropped = self._dropped, 0
            self.event(not_shown(dropped))

    def close(self) -> None:
        """Print what waits, for as long as a terminal may reasonably take."""
        with suppress(queue.Full):
            if self._dropped:
                self._lines.put(not_shown(self._dropped), timeout=CLOSE_WITHIN_S)
            self._lines.put(None, timeout=CLOSE_WITHIN_S)
            self._thread.join(CLOSE_WITHIN_S)

    def _print_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._out.write(line + "\n")
                if self._lines.empty():
                    self._out.flush()
            except (OSError, ValueError):
                continue  # the reader is gone: the mesh runs on without one


def not_shown(count: int) -> str:
    """Return the line that stands for lines that were dropped."""
    return f"mesh: {count} lines are not shown: nobody took them in time"
