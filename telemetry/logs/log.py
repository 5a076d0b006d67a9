"""The log of this process: where each line goes, at which level, how often; it never waits for who reads."""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

import msgspec

from telemetry.logs.line import (
    MAX_LINE_BYTES,
    NO_FACTS,
    Facts,
    Level,
    Line,
    Record,
    as_json,
    as_line,
    as_text,
    line_of,
    record_of,
)
from telemetry.logs.rates import EventRates
from telemetry.logs.settings import HandlersWord, LogSettings, level_for

# Read once, when a process begins; whoever starts processes of ours sets them, and theirs inherit them.
FORMAT_VARIABLE = "PENSTOCK_LOG_FORMAT"  # auto, text or json
SETTINGS_VARIABLE = "PENSTOCK_LOG_SETTINGS"  # path of the file with the settings

MAX_SETTINGS_BYTES = 64 * 2**10
_STDERR = 2

Write = Callable[[bytes], bool]
"""Takes one line or a few; returns False where nobody took it."""


def to_stderr(data: bytes) -> bool:
    """Write to whatever ``sys.stderr`` is at the moment."""
    try:
        sys.stderr.write(data.decode("utf-8", "replace"))
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return False
    return True


class DescriptorWriter:
    """Writes to a descriptor as much as it takes at once: a pipe that nobody reads costs lines, never time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    def __call__(self, data: bytes) -> bool:
        """Return whether all of it was taken."""
        try:
            for at in range(0, len(data), MAX_LINE_BYTES):
                if not self._room.poll(0):
                    return False
                os.write(self._descriptor, data[at : at + MAX_LINE_BYTES])
        except OSError:
            return False
        return True


class Log:
    """What one process tells. Until ``begin`` it writes text to ``sys.stderr``; threads may use it.

    Attributes:
        is_debug: whether lines of level DEBUG are written; for callers who would make them in vain.
        lines: written, by level.
        unwritten: lines that nobody took.
        handlers: what is written of a model's handler.
        on_level: called with the level when it, or ``handlers``, became another.
    """

    def __init__(self, write: Write = to_stderr, clock: Callable[[], float] = time.monotonic) -> None:
        self._write = write
        self._clock = clock
        self._identity = NO_FACTS
        self._is_json = False
        self._is_auto = False
        self._has_terminal = False
        self._level = Level.INFO
        self._rates = EventRates()
        self._lock = threading.RLock()
        self._file: Path | None = None
        self._seen: tuple[int, int, int] | None = None
        self._settings = LogSettings()
        self.is_debug = False
        self.handlers: HandlersWord = "without_messages"
        self.lines: Counter[str] = Counter()
        self.unwritten = 0
        self.on_level: Callable[[Level], None] | None = None

    @property
    def level(self) -> Level:
        """The level from which on lines are written."""
        return self._level

    @property
    def suppressed(self) -> int:
        """Lines that were not written: too many of one event, or nobody took them."""
        return self._rates.suppressed + self.unwritten

    def begin(
        self,
        identity: Facts,
        environ: Mapping[str, str] | None = None,
        write: Write | None = None,
        *,
        usual: str = "",
        heeds: bool = True,
    ) -> None:
        """Say whose log this is, and do as the environment says.

        Args:
            write: where lines go; descriptor 2 when left out.
            usual: the format of a process whose environment names none; JSON when left out, unless a terminal reads.
            heeds: the settings; one that does not has its level from whoever started it.
        """
        environ = os.environ if environ is None else environ
        self._identity = msgspec.structs.replace(identity, pid=os.getpid())
        self._write = write or (DescriptorWriter(_STDERR) if _is_descriptor(_STDERR) else to_stderr)
        wanted = environ.get(FORMAT_VARIABLE) or usual or "auto"
        self._is_auto = wanted not in ("text", "json")
        self._has_terminal = write is None and os.isatty(_STDERR)
        self._is_json = not self._has_terminal if self._is_auto else wanted == "json"
        named = environ.get(SETTINGS_VARIABLE)
        self._file = Path(named) if named and heeds else None
        self.tick()

    def know(self, facts: Facts) -> None:
        """Say more of whose log this is, once it is known."""
        known = {name: value for name, value in msgspec.structs.asdict(facts).items() if value}
        self._identity = msgspec.structs.replace(self._identity, **known)

    def say(self, subject: str, text: str) -> None:
        """Tell one event: text, or a ``Line`` that says more of it.

        Args:
            subject: who speaks, for people; "" where the text says so itself.
        """
        self._tell(subject, as_line(text), sys._getframe(1))

    def show(self, subject: str, text: str, level: Level = Level.WARNING, event: str = "") -> None:
        """Tell a text of several lines, such as a traceback, as one event."""
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "")
        self._tell(subject, Line(last, level, event, Facts(stack=text)), sys._getframe(1))

    def relay(self, record: Record, subject: str, own: Facts, separator: str = ": ") -> None:
        """Tell what a child of this process told, as its own."""
        line = line_of(record, subject, own, separator)
        self._tell("", line, sys._getframe(1))

    def set_level(self, level: Level) -> None:
        """Write lines from this level on."""
        if level != self._level:
            self._level = level
            self.is_debug = level <= Level.DEBUG
            if self.on_level is not None:
                self.on_level(level)

    def tick(self) -> None:
        """Heed the settings, let changes end, tell what was left out; to be called about once a second."""
        self._heed()
        with self._lock:
            for event, unsaid in self._rates.due(self._clock()):
                text = f"{unsaid} more lines of {event} were left out"
                self._put("", Line(text, Level.INFO, event, Facts(suppressed=unsaid)), event, 0)

    def _heed(self) -> None:
        if self._file is None:
            return
        try:
            status = os.stat(self._file)
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen and status.st_size <= MAX_SETTINGS_BYTES:
                data = self._file.read_bytes()
                self._seen = seen  # broken or not: only another is looked at again
                self._settings = msgspec.json.decode(data, type=LogSettings)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            pass  # what was said before holds
        self.use(self._settings)

    def use(self, settings: LogSettings) -> None:
        """Do as these settings say; the environment's word for the format goes before theirs."""
        self._settings = settings
        if self._is_auto:
            self._is_json = settings.format == "json" or (settings.format == "auto" and not self._has_terminal)
        is_new, self.handlers = settings.handlers != self.handlers, settings.handlers
        level = level_for(settings, self._identity, time.time())
        if level != self._level:
            self.set_level(level)
        elif is_new and self.on_level is not None:
            self.on_level(level)

    def _tell(self, subject: str, line: Line, caller: FrameType) -> None:
        if line.level < self._level:
            return
        event = line.event or event_at(caller)
        with self._lock:
            unsaid = self._rates.admit(event, self._clock())
            if unsaid is not None:
                self._put(subject, line, event, unsaid)

    def _put(self, subject: str, line: Line, event: str, unsaid: int) -> None:
        if self._is_json:
            origin = msgspec.structs.replace(self._identity, suppressed=unsaid)
            data = as_json(record_of(line, origin, event, time.time()))
        else:
            data = as_text(subject, line, unsaid).encode("utf-8", "replace")
        if self._write(data):
            self.lines[line.level.word] += 1
        else:
            self.unwritten += 1


def _is_descriptor(number: int) -> bool:
    """Return whether ``sys.stderr`` is this descriptor, and nobody has put something else in its place."""
    try:
        return sys.stderr.fileno() == number
    except (OSError, ValueError, AttributeError):
        return False


def event_at(frame: FrameType) -> str:
    """Return the event of a line that names none: the module and the function that tell it."""
    caller: FrameType | None = frame
    # Through the small functions that only put the subject before.
    while caller is not None and caller.f_code.co_name.strip("_") in {"say", "show", "tell", "event", "<lambda>"}:
        caller = caller.f_back
    found = caller or frame
    module = str(found.f_globals.get("__name__", "")).rpartition(".")[2]
    return f"{module}.{found.f_code.co_name.strip('_<>')}"


LOG = Log()
"""The log of this process."""
