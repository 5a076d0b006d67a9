"""One line of a log: what it may hold, and how it is written for programs and for people.

Fields are the attributes of ``Facts`` and nothing else, so there is no place for a header, a body or a key.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Literal, Self

import msgspec
from msgspec import Struct

Format = Literal["text", "json"]

# A pipe takes so much at once or nothing (PIPE_BUF of pipe(7)): lines of several processes never mix.
MAX_LINE_BYTES = 4096
MAX_MSG_CHARACTERS = 1024
MAX_FIELD_CHARACTERS = 256
MAX_STACK_CHARACTERS = 3072
_CUT = "…"
# JSON may take six bytes for a character; what is still too long then is cut to this.
_SHORT_CHARACTERS = 256

# Control characters other than a tab could move the cursor, retitle the window, or forge lines.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
# The last line of defence: nothing of ours writes credentials, but an error's text may quote what it was given.
_SECRETS = re.compile(
    r"(msk_[a-z2-7]{12}_)[0-9A-Za-z]{20,}(?:_[0-9A-Za-z]{1,6})?"
    r"|(eyJ[\w-]{4,}\.)[\w-]+(?:\.[\w-]*)?"
    r"|((?:bearer|basic)\s+)[\w.~+/=-]{8,}"
    r"|((?:authorization|cookie|password|passwd|secret|token|api[_-]?key)\s*[=:]\s*)(?!bearer\b|basic\b)[^\s,;]{4,}"
    r"|(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.IGNORECASE | re.DOTALL,
)
HIDDEN = "[hidden]"


class Level(IntEnum):
    """How grave a line is; the numbers are those of ``logging``."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @property
    def word(self) -> str:
        """The level as it is written."""
        return self.name.lower()


WORDS = tuple(level.word for level in Level)


def level_of(word: str) -> Level:
    """Return the level of a word; INFO for one that is none."""
    return Level[word.upper()] if word in WORDS else Level.INFO


class Facts(Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"error_type": "error.type"}):
    """What a line may say beside its sentence; all of it bounded, none of it a payload.

    Attributes:
        process: "gateway", "pod", "sidecar", "hub" or "mesh" (``penstock up``).
        role: which of its processes: "supervisor", "worker 0", "copies", "server", "model".
        pod: its name with the index, where it is known.
        error_type: a reason of the registry, or the class of an exception.
        stack: where it happened; several lines.
        suppressed: how many lines of the event were left out before this one.
    """

    process: str = ""
    role: str = ""
    pid: int = 0
    model: str = ""
    version: str = ""
    pod: str = ""
    tenant: str = ""
    arm: str = ""
    api: str = ""
    trace_id: str = ""
    span_id: str = ""
    request_id: str = ""
    status: int = 0
    reason: str = ""
    duration_s: float = 0.0
    rows: int = 0
    generation: int = 0
    error_type: str = ""
    stack: str = ""
    suppressed: int = 0


NO_FACTS = Facts()


class Record(Struct, frozen=True):
    """A whole line as programs read it: one flat object, of which the facts are a part.

    Attributes:
        ts: RFC 3339 in UTC, to the millisecond.
        event: what happened, the same word each time; rates are limited by it.
        msg: a sentence for people.
    """

    ts: str
    level: str
    event: str
    msg: str
    facts: Facts = NO_FACTS


class Line(str):
    """A sentence for people that also says how grave it is, which event it tells of, and more facts.

    Attributes:
        prefix: how many of its first characters say who speaks, and are no part of the message.
    """

    level: Level
    event: str
    facts: Facts
    prefix: int

    def __new__(
        cls, text: str, level: Level = Level.INFO, event: str = "", facts: Facts = NO_FACTS, prefix: int = 0
    ) -> Self:
        """Make one."""
        line = super().__new__(cls, text)
        line.level, line.event, line.facts, line.prefix = level, event, facts, prefix
        return line


def warning(text: str, event: str = "", facts: Facts = NO_FACTS) -> Line:
    """Return a line about what does not work and may mend itself."""
    return Line(text, Level.WARNING, event, facts)


def error(text: str, event: str = "", facts: Facts = NO_FACTS) -> Line:
    """Return a line about what does not work until somebody mends it."""
    return Line(text, Level.ERROR, event, facts)


def debug(text: str, event: str = "", facts: Facts = NO_FACTS) -> Line:
    """Return a line that is of use only to whoever looks for something."""
    return Line(text, Level.DEBUG, event, facts)


def as_line(text: str) -> Line:
    """Return a text as a line; one that is none is of level INFO."""
    return text if isinstance(text, Line) else Line(text)


def without_secrets(text: str) -> str:
    """Return the text with what looks like a credential hidden."""
    return _SECRETS.sub(lambda match: f"{next((part for part in match.groups() if part), '')}{HIDDEN}", text)


def bounded(text: str, most: int) -> str:
    """Return at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + _CUT


def bounded_stack(text: str, most: int = MAX_STACK_CHARACTERS) -> str:
    """Return a stack without its middle where it is too long: its end says what happened."""
    if len(text) <= most:
        return text
    head = most // 4
    return f"{text[:head]}\n{_CUT}\n{text[-max(1, most - head - 3) :]}"


def record_of(line: Line, origin: Facts, default_event: str, wall_s: float) -> Record:
    """Return what programs are told.

    Args:
        origin: whose line it is; the line's own facts go before.
        default_event: for a line that names none.
    """
    told = {**msgspec.structs.asdict(origin), **_said(line.facts)}
    return Record(
        ts=timestamp(wall_s),
        level=line.level.word,
        event=bounded(line.event or default_event, MAX_FIELD_CHARACTERS),
        msg=bounded(without_secrets(line[line.prefix :]), MAX_MSG_CHARACTERS),
        facts=Facts(**{name: _clean(name, value) for name, value in told.items()}),
    )


def _said(facts: Facts) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(facts).items() if value}


def _clean(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    hidden = without_secrets(value) if value else value
    return bounded_stack(hidden) if name == "stack" else bounded(hidden, MAX_FIELD_CHARACTERS)


def timestamp(wall_s: float) -> str:
    """Return a moment of the wall's clock as it is written."""
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_json(record: Record) -> bytes:
    """Return the line for programs, with its end; never longer than ``MAX_LINE_BYTES``."""
    line = _flat(record)
    if len(line) > MAX_LINE_BYTES:
        room = len(record.facts.stack) - (len(line) - MAX_LINE_BYTES) - _SHORT_CHARACTERS
        facts = msgspec.structs.replace(record.facts, stack=bounded_stack(record.facts.stack, max(room, 16)))
        line = _flat(msgspec.structs.replace(record, facts=facts))
    if len(line) > MAX_LINE_BYTES:
        facts = msgspec.structs.replace(record.facts, stack=bounded_stack(record.facts.stack, _SHORT_CHARACTERS))
        record = msgspec.structs.replace(record, msg=bounded(record.msg, _SHORT_CHARACTERS), facts=facts)
        line = _flat(record)
    if len(line) > MAX_LINE_BYTES:
        line = _flat(Record(record.ts, record.level, bounded(record.event, _SHORT_CHARACTERS), _CUT))
    return line


def _flat(record: Record) -> bytes:
    head = {"ts": record.ts, "level": record.level, "event": record.event, "msg": record.msg}
    fields = {**head, **msgspec.to_builtins(record.facts)}
    try:
        return msgspec.json.encode(fields) + b"\n"
    except UnicodeEncodeError:  # half a surrogate pair, such as what a handler raises may hold
        return msgspec.json.encode({name: _whole(value) for name, value in fields.items()}) + b"\n"


def _whole(value: object) -> object:
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


def as_text(subject: str, line: Line, suppressed: int = 0) -> str:
    """Return the line for people, with its ends: as many as its stack has, or one."""
    text = line.facts.stack or " ".join(line[line.prefix :].splitlines())
    before = line[: line.prefix] or (f"{subject}: " if subject else "")
    more = f" ({suppressed} more like it before)" if suppressed else ""
    return "".join(f"{before}{readable(part)}{more}\n" for part in without_secrets(text).splitlines() or [""])


def readable(text: str) -> str:
    """Return a text that is harmless to a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)


def read_record(text: str) -> Record | None:
    """Return the record that a line of a child's output is; None where it is something else."""
    if not text.startswith('{"ts":'):
        return None
    try:
        record = msgspec.json.decode(text, type=Record)
        return msgspec.structs.replace(record, facts=msgspec.json.decode(text, type=Facts))
    except (msgspec.MsgspecError, UnicodeEncodeError):
        return None


def line_of(record: Record, subject: str, own: Facts, separator: str = ": ") -> Line:
    """Return a child's record as a line of whoever reads it, who knows better whose child it is."""
    before = f"{subject}{separator}"
    facts = Facts(**{**_said(record.facts), **_said(own)})
    return Line(f"{before}{record.msg}", level_of(record.level), record.event, facts, len(before))
