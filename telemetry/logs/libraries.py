"""What libraries tell through ``logging``: their warnings and errors, never less, whatever our own level is.

Libraries log headers and bodies at lower levels, so these stay off.
"""

from __future__ import annotations

import logging
import traceback

from telemetry.logs.line import Facts, Level, Line
from telemetry.logs.log import Log

HANDLER_LOGS = "handler.log"


class Library(logging.Handler):
    """Hands records of ``logging`` to our log; of an exception its class and where it was, not its text."""

    def __init__(self, log: Log, subject: str) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._subject = subject

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record."""
        try:
            level = Level.ERROR if record.levelno >= logging.ERROR else Level.WARNING
            text = f"{record.name}: {record.getMessage().partition(chr(10))[0]}"
            self._log.say(self._subject, Line(text, level, f"library.{record.name}", _facts(record)))
        except Exception:  # as handlers of ``logging`` do: who logs is never ended by it
            self.handleError(record)


class HandlersOwn(logging.Handler):
    """Hands on what a model's handler logs, as it is: its owner wrote it, and its level decides what is written."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one record."""
        try:
            text, level = self.format(record), _level(record.levelno)
            if "\n" in text:
                self._log.show("", text, level, HANDLER_LOGS)
            else:
                self._log.say("", Line(text, level, HANDLER_LOGS))
        except Exception:  # as handlers of ``logging`` do: who logs is never ended by it
            self.handleError(record)


def _level(number: int) -> Level:
    return max((level for level in Level if level <= number), default=Level.DEBUG)


def _facts(record: logging.LogRecord) -> Facts:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return Facts()
    frames = traceback.extract_tb(error.__traceback__)
    stack = "\n".join(f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    return Facts(error_type=type(error).__name__, stack=f"{record.name}: {type(error).__name__}\n{stack}")


def take_over(log: Log, subject: str) -> None:
    """Let everything that libraries log go through our log."""
    root = logging.getLogger()
    root.handlers[:] = [Library(log, subject)]
    root.setLevel(logging.WARNING)
