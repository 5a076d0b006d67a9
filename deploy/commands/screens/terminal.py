"""A terminal that is drawn on and read from key by key, and is left as it was found."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from deploy.commands.screens.keys import keys_of

_READ_BYTES = 1024
# Another screen than the one with the shell's lines, without a cursor; and back.
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def is_terminal() -> bool:
    """Whether somebody looks and types."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def has_colour() -> bool:
    """Whether colours are wanted: by a terminal whose user has not said NO_COLOR (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


class Terminal:
    """The terminal, while it is ours."""

    def __init__(self) -> None:
        self._in_fd = sys.stdin.fileno()
        self._before: list[Any] = []
        self._drawn = ""

    def __enter__(self) -> Self:
        """Take keys one by one and a screen of our own."""
        self._before = termios.tcgetattr(self._in_fd)
        tty.setcbreak(self._in_fd, termios.TCSANOW)
        self._send(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give both back."""
        self._send(_LEAVE)
        termios.tcsetattr(self._in_fd, termios.TCSANOW, self._before)

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows, now."""
        found = shutil.get_terminal_size()
        return found.columns, found.lines

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines, at least one; what stands there already is not sent again."""
        *above, last = lines
        # Each line is cleared before it is written: behind one that is full the last letter would be cleared.
        text = "".join(f"{_CLEAR_LINE}{line}\n" for line in above) + _CLEAR_BELOW + last
        if text != self._drawn:
            self._drawn = text
            self._send(_HOME + text)

    def keys(self, wake_fd: int, within_s: float) -> list[str]:
        """Return the keys that are pressed within a time, or until something can be read from a descriptor."""
        ready, _, _ = select.select([self._in_fd, wake_fd], [], [], within_s)
        if wake_fd in ready:
            os.read(wake_fd, _READ_BYTES)
        if self._in_fd not in ready:
            return []
        sent = os.read(self._in_fd, _READ_BYTES)
        return keys_of(sent) if sent else ["ctrl-c"]  # whoever typed is gone

    def _send(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
