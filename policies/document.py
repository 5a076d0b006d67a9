"""Strict YAML: bytes of one file -> nodes that know their place, or errors with theirs.

Only what has one meaning to every reader is taken: YAML 1.2 core types, one document, no anchors, aliases, merge keys
or tags, no duplicate keys. It knows nothing of what the keys mean.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import yaml

from policies import units
from policies.errors import PolicyError, quoted
from policies.nodes import Entry, Mapping, Node, Scalar, Sequence, Value, kind_of, plain

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 20
# A longer number is a mistake, and turning it into one takes time that grows with the square of its length.
MAX_NUMBER_CHARACTERS: Final = 40

_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.2.2 §10.3.2, the core schema.
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_NUMBERS_BEGIN: Final = frozenset("+-.0123456789")
# "0123" is 83 to YAML 1.1 readers and 123 to YAML 1.2 readers.
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9]+")
# Control characters, and the characters that YAML 1.1 takes for line ends and YAML 1.2 does not.
_UNWELCOME: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Document:
    """One file: its root, or what kept it from having one."""

    file: str
    root: Mapping | None
    errors: tuple[PolicyError, ...]


class _StopReadingError(Exception):
    """Nothing after this place can be understood."""

    def __init__(self, line: int, column: int, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.line, self.column, self.problem, self.fix = line, column, problem, fix


def parse(content: bytes, file: str) -> Document:
    """Read one policy file; `file` is the name that its errors carry."""
    errors: list[PolicyError] = []
    try:
        root = _Composer(file, _text(content), errors).root()
    except _StopReadingError as stop:
        errors.append(PolicyError(file, stop.line, stop.column, stop.problem, stop.fix))
        root = None
    return Document(file, root, tuple(errors))


def _text(content: bytes) -> str:
    """The characters of a file that is whole and holds nothing invisible."""
    if len(content) > MAX_FILE_BYTES:
        raise _StopReadingError(1, 1, "the file is larger than 1 MiB", "Split it, or remove what is not policy.")
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise _StopReadingError(line, column, "the file is not UTF-8", "Save it as UTF-8.") from None
    if unwelcome := _UNWELCOME.search(text):
        raise _unwelcome_character(text, unwelcome.start())
    if not text.strip():
        raise _StopReadingError(1, 1, "the file is empty", "Write a policy in it, or remove it.")
    if not text.endswith("\n"):
        last_line = text.count("\n") + 1
        column = len(text) - text.rfind("\n")
        raise _StopReadingError(
            last_line, column, "the file ends inside a line and looks cut off", "End its last line."
        )
    return text


def _unwelcome_character(text: str, index: int) -> _StopReadingError:
    line = text.count("\n", 0, index) + 1
    column = index - (text.rfind("\n", 0, index) + 1) + 1
    if text[index] == "\t":
        return _StopReadingError(line, column, "a tab character", "Use spaces.")
    if text[index] == "\ufeff":
        return _StopReadingError(line, column, "a byte order mark", "Save the file as UTF-8 without it.")
    return _StopReadingError(line, column, f"an invisible character, U+{ord(text[index]):04X}", "Remove it.")


class _Opened:
    """What has been opened when the parser gives up: most often one quote or bracket too few, lines before."""

    def __init__(self) -> None:
        self._brackets: list[yaml.SequenceStartEvent | yaml.MappingStartEvent] = []
        self._last: yaml.Event | None = None

    def note(self, event: yaml.Event) -> None:
        self._last = event
        if isinstance(event, yaml.ScalarEvent):
            return
        if isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent) and event.flow_style:
            self._brackets.append(event)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent) and self._brackets:
            self._brackets.pop()

    def explain(self, error: yaml.MarkedYAMLError) -> _StopReadingError:
        """The error at what was opened, if its end is missing; else where the parser stopped."""
        mark: _Mark | None = error.problem_mark or error.context_mark
        line = _line(mark)
        place: _Mark | None
        if error.problem == "found unexpected end of stream" and error.context_mark:
            place, problem, fix = error.context_mark, "the quote that is opened here is never closed", "Close it."
        elif quote := self._quote_that_ends_in(line):
            place, fix = quote, "Close it where its text ends."
            problem = f"the quote that is opened here ends in line {line}, and more follows it there"
        elif bracket := self._bracket_before(line):
            place, fix = bracket, "Close it, or add the comma that is missing."
            problem = f"the bracket that is opened here is not closed before line {line}"
        else:
            place, problem = mark, f"this is not YAML: {error.problem or error.context}"
            fix = "Look for a missing quote, colon or bracket here or in the line before."
        return _StopReadingError(_line(place), place.column + 1 if place else 1, problem, fix)

    def _quote_that_ends_in(self, line: int) -> "_Mark | None":
        last = self._last
        if not isinstance(last, yaml.ScalarEvent) or last.style not in ("'", '"'):
            return None
        return last.start_mark if _line(last.start_mark) < _line(last.end_mark) == line else None

    def _bracket_before(self, line: int) -> "_Mark | None":
        """The innermost bracket, if it was opened in an earlier line; a pair without braces in a list has none."""
        for event in reversed(self._brackets):
            start, end = event.start_mark, event.end_mark
            if start and end and start.column != end.column:
                return start if _line(start) < line else None
        return None


class _Composer:
    """Turns the events of the YAML parser into nodes, and notes what they must not contain."""

    def __init__(self, file: str, text: str, errors: list[PolicyError]) -> None:
        self._file = file
        self._errors = errors
        self._events = self._read(text)

    def root(self) -> Mapping:
        next(self._events)  # the start of the stream
        start = next(self._events)
        if not isinstance(start, yaml.DocumentStartEvent):
            raise _StopReadingError(1, 1, "the file holds only comments", "Write a policy in it, or remove it.")
        if start.version or start.tags:
            raise _StopReadingError(1, 1, "a % directive", "Remove it: policy files need none.")
        root = self._node(next(self._events), depth=1)
        next(self._events)  # the end of the document
        if not isinstance(another := next(self._events), yaml.StreamEndEvent):
            line, column = _place(another)
            raise _StopReadingError(line, column, "a second document", "Put each policy in a file of its own.")
        if not isinstance(root, Mapping):
            problem = "expected keys and values at the top of the file"
            raise _StopReadingError(root.line, root.column, problem, "Begin with a line such as kind: mesh/v1.")
        return root

    def _read(self, text: str) -> Iterator[yaml.Event]:
        opened = _Opened()
        try:
            for event in yaml.parse(text, Loader=_PARSER):
                opened.note(event)
                yield event
        except yaml.MarkedYAMLError as error:
            raise opened.explain(error) from None

    def _node(self, event: yaml.Event, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise _StopReadingError(*_place(event), f"nested deeper than {MAX_DEPTH} levels", "Remove some levels.")
        if isinstance(event, yaml.AliasEvent):
            self._note(event, f"an alias, *{event.anchor}", "Write the value out: policy files have no aliases.")
            return Scalar(*_place(event), _last_line(event), "", "")
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101 - the grammar of events allows nothing else here
        self._refuse_decoration(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(event, depth)
        assert isinstance(event, yaml.MappingStartEvent)  # noqa: S101 - likewise
        return self._mapping(event, depth)

    def _refuse_decoration(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:
            self._note(event, f"an anchor, &{event.anchor}", "Remove it: policy files have no anchors or aliases.")
        tag: str | None = getattr(event, "tag", None)
        if tag is not None:
            self._note(event, f"a tag, {quoted(tag)}", "Remove it: what a value is follows from its key.")

    def _sequence(self, event: yaml.SequenceStartEvent, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(inner, depth + 1))
        is_flow = bool(event.flow_style)
        return Sequence(*_place(event), _end_line(event, inner, is_flow, items), is_flow, tuple(items))

    def _mapping(self, event: yaml.MappingStartEvent, depth: int) -> Mapping:
        entries: dict[str, Entry] = {}
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._node(inner, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if isinstance(key, Scalar) and self._may_be_key(key, entries):
                entries[key.text] = Entry(key, value)
            elif not isinstance(key, Scalar):
                self._note(inner, "a list or mapping as a key", "Use a word as the key.")
        is_flow = bool(event.flow_style)
        values = [entry.value for entry in entries.values()]
        return Mapping(*_place(event), _end_line(event, inner, is_flow, values), is_flow, entries)

    def _may_be_key(self, key: Scalar, entries: dict[str, Entry]) -> bool:
        if key.text == "<<":
            problem, fix = "a merge key, <<", "Write the keys out: policy files have no merge keys."
        elif key.text in entries:
            first = entries[key.text].key
            problem = f"the key {quoted(key.text)} is here twice, first in line {first.line}"
            fix = "Keep one of the two."
        elif not isinstance(key.value, str):
            problem = f"the key {quoted(key.text)} is {kind_of(key)} and a key is text"
            fix = f'Write "{key.text}" in quotes{_or_share(key.value)}.'
        else:
            return True
        self._errors.append(PolicyError(self._file, key.line, key.column, problem, fix))
        # A number as a key is kept, so that what stands under it is checked too.
        return key.text != "<<" and key.text not in entries

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        value = self._core_value(event) if event.implicit[0] else event.value
        return Scalar(*_place(event), _last_line(event), event.value, value)

    def _core_value(self, event: yaml.ScalarEvent) -> Value:
        """What a word without quotes is in the core schema of YAML 1.2."""
        text: str = event.value
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if text[0] not in _NUMBERS_BEGIN:
            return text
        if not (_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
            return text
        return self._number(event, text)

    def _number(self, event: yaml.ScalarEvent, text: str) -> Value:
        if len(text) > MAX_NUMBER_CHARACTERS:
            self._note(event, "a number of too many digits", "Write a shorter one, or put it in quotes if it is text.")
        elif _NOT_FINITE.fullmatch(text):
            self._note(event, f"{text} is not a finite number", "Write a finite one.")
        elif _LEADING_ZERO.fullmatch(text):
            fix = f'Write "{text}" if it is text, {int(text)} if it is a number.'
            self._note(event, f"{text} is one number to old YAML readers and another to new ones", fix)
        elif _INTEGER.fullmatch(text):
            return int(text, 0)
        else:
            return float(text)
        return 0

    def _note(self, event: yaml.Event, problem: str, fix: str) -> None:
        self._errors.append(PolicyError(self._file, *_place(event), problem, fix))


def _or_share(number: Value) -> str:
    """A key below 1 is seldom a name: the steps of a quota are shares of it."""
    if not isinstance(number, float) or not 0 < number < 1:
        return ""
    return f", or {units.percent_text(number)} if it is a share"


def as_list_item(text: str) -> str:
    """A text as a list in brackets holds it: in quotes where it would be something else without."""
    document = parse(f"a: [{text}]\n".encode("utf-8", "replace"), "")
    is_plain = document.root is not None and not document.errors and plain(document.root) == {"a": [text]}
    return text if is_plain and quoted(text)[1:-1] == text else quoted(text)


class _Mark(Protocol):
    """A place as both of PyYAML's parsers give it, counted from 0."""

    line: int
    column: int


def _line(mark: _Mark | None) -> int:
    return mark.line + 1 if mark else 1


def _place(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return _line(mark), mark.column + 1 if mark else 1


def _last_line(event: yaml.Event) -> int:
    """The line of an event's last character; a block scalar ends where the next line begins."""
    start, end = event.start_mark, event.end_mark
    ends_at_line_start = start and end and end.column == 0 and end.line > start.line
    return _line(end) - 1 if ends_at_line_start else _line(end)


def _end_line(start: yaml.Event, end: yaml.Event, is_flow: bool, children: Iterable[Node]) -> int:
    """The last line of a collection: for one written in lines that of its last child, for the parser looks further."""
    if is_flow:
        return _line(end.end_mark)
    return max((child.end_line for child in children), default=_line(start.start_mark))
