"""Brings a policy file into its usual form: keys in the order of the schema, two spaces, every comment kept.

It moves whole lines and never writes a value anew, so what it does not understand it leaves as it was.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from msgspec import Struct, inspect

from policies.document import parse
from policies.kinds import Kind
from policies.nodes import Entry, Mapping, Node, plain
from policies.nodes import Sequence as SequenceNode
from policies.shapes import bare, field_shapes, type_of, value_shape

SCHEMA_FILE: Final = "policy-schema.json"
_SCHEMA_LINE: Final = re.compile(r"#\s*yaml-language-server:\s*\$schema=\S+\s*")
_COMMENT: Final = re.compile(r"(?:^|\s)(#.*)")
_ANY_COLUMN: Final = sys.maxsize
_MARKERS: Final = ("---", "...")

Lines: TypeAlias = list[str]


class CannotFormatError(ValueError):
    """The file cannot be formatted without risk to what it says; the place counts from 1."""

    def __init__(self, problem: str, fix: str, line: int = 1, column: int = 1) -> None:
        super().__init__(problem)
        self.problem, self.fix, self.line, self.column = problem, fix, line, column


class _Chunk(Struct, frozen=True):
    """The lines of one entry or item: those of its comments before it, then its own up to `end` (not included)."""

    lead: Lines
    first: int
    end: int


def format_file(content: bytes, path: str, kind: Kind, schema: str = "") -> str:
    """The usual form of a policy file; `path` is its place below the policy directory.

    `schema` is the path from there to the directory's own schema, to which the file points editors; "" for none.

    Raises:
        CannotFormatError: it is no strict YAML, or is written in a way that cannot be moved line by line.
    """
    before = parse(content, path)
    for error in before.errors:
        raise CannotFormatError(error.problem, error.fix, error.line, error.column)
    if before.root is None:
        raise CannotFormatError("there is nothing in it", "Write a policy in it, or remove it.")
    schema_lines, lines = _divide(content.decode(), schema)
    header, body = _header_and_body(lines, path, kind)
    text = "\n".join(_single_blank_lines([*schema_lines, *header, *body])) + "\n"
    after = parse(text.encode(), path)
    if after.root is None or plain(after.root) != plain(before.root) or _comments(text) != _comments("\n".join(lines)):
        raise _not_in_lines()
    return text


def _not_in_lines(line: int = 1) -> CannotFormatError:
    fix = "Write each key in a line of its own, followed by its value."
    return CannotFormatError("this is written in a way that cannot be moved line by line", fix, line)


def _divide(text: str, schema: str) -> tuple[Lines, Lines]:
    """The line that points editors at a schema, if there is one or is to be, and all others.

    In a file that came from elsewhere it leads to the schema from there; one to a schema of another name stays.
    """
    lines = [line.rstrip() for line in text.split("\n")]
    own = [line for line in lines if _SCHEMA_LINE.fullmatch(line) and not (schema and line.endswith(SCHEMA_FILE))]
    usual = [f"# yaml-language-server: $schema={schema}"] if schema else []
    others = ["" if line in _MARKERS else line for line in lines if not _SCHEMA_LINE.fullmatch(line)]
    return own[:1] or usual, _strip_blank_ends(others)


def _header_and_body(lines: Lines, path: str, kind: Kind) -> tuple[Lines, Lines]:
    """The comment that opens the file, which stays there when a blank line follows it, and the formatted rest."""
    root = parse("\n".join([*lines, ""]).encode(), path).root
    if root is None:
        raise _not_in_lines()
    start = max((number + 1 for number, line in enumerate(lines[: root.line - 1]) if not line), default=0)
    header = [line.lstrip() for line in lines[:start]]
    body = lines[start:] if root.is_flow else _Formatter(lines, kind).root(root, start)
    return header, body


def _single_blank_lines(lines: Lines) -> Iterator[str]:
    before = ""
    for line in _strip_blank_ends(lines):
        if line or before:
            yield line
        before = line


def _strip_blank_ends(lines: Sequence[str]) -> Lines:
    kept = list(lines)
    while kept and not kept[-1]:
        kept.pop()
    while kept and not kept[0]:
        kept.pop(0)
    return kept


def _comments(text: str) -> list[str]:
    """Every comment but the schema's, in an order that does not depend on that of the keys.

    A "#" in a quoted value may be among them: it is there before and after.
    """
    return sorted(
        comment for line in text.split("\n") for comment in _COMMENT.findall(line) if not _SCHEMA_LINE.fullmatch(line)
    )


class _Formatter:
    """Moves the lines of one file; lines are numbered from 0 here, those of nodes from 1."""

    def __init__(self, lines: Lines, kind: Kind) -> None:
        self._lines = lines
        self._kind = kind

    def root(self, root: Mapping, start: int) -> Lines:
        return self._mapping(root, type_of(self._kind.shape), start, len(self._lines), 0)

    def _block(self, node: Node, shape: inspect.Type | None, start: int, end: int, indent: int) -> Lines:
        if isinstance(node, Mapping):
            return self._mapping(node, shape, start, end, indent)
        assert isinstance(node, SequenceNode)  # noqa: S101 - only collections are written in lines
        return self._sequence(node, shape, start, end, indent)

    def _mapping(self, node: Mapping, shape: inspect.Type | None, start: int, end: int, indent: int) -> Lines:
        entries = list(node.entries.values())
        chunks, footer = self._chunks([entry.key.line - 1 for entry in entries], entries, node.column - 1, start, end)
        shapes = field_shapes(shape)
        order = {name: rank for rank, name in enumerate(shapes)} if isinstance(bare(shape), inspect.StructType) else {}
        pairs = sorted(zip(entries, chunks, strict=True), key=lambda pair: order.get(pair[0].key.text, len(order)))
        lines: Lines = []
        for entry, chunk in pairs:
            entry_shape = shapes.get(entry.key.text) or value_shape(shape)
            lines += [*_indented(chunk.lead, indent), *self._entry(entry, entry_shape, chunk, indent)]
        return _strip_blank_start(lines) + _indented(footer, indent)

    def _entry(self, entry: Entry, shape: inspect.Type | None, chunk: _Chunk, indent: int) -> Lines:
        head = " " * indent + self._lines[chunk.first][entry.key.column - 1 :]
        value = entry.value
        if _is_block(value) and value.line - 1 > chunk.first:
            return [head, *self._block(value, shape, chunk.first + 1, chunk.end, indent + 2)]
        return [head, *self._shifted(chunk.first + 1, chunk.end, indent - (entry.key.column - 1), indent + 2)]

    def _sequence(self, node: SequenceNode, shape: inspect.Type | None, start: int, end: int, indent: int) -> Lines:
        dashes = [self._dash_line(item, node.column - 1) for item in node.items]
        chunks, footer = self._chunks(dashes, node.items, node.column - 1, start, end)
        lines: Lines = []
        for item, chunk in zip(node.items, chunks, strict=True):
            lines += [
                *_indented(chunk.lead, indent),
                *self._item(item, value_shape(shape), chunk, node.column, indent),
            ]
        return _strip_blank_start(lines) + _indented(footer, indent)

    def _item(self, item: Node, shape: inspect.Type | None, chunk: _Chunk, dash_column: int, indent: int) -> Lines:
        if _is_block(item):
            lines = self._block(item, shape, chunk.first, chunk.end, indent + 2)
            # A comment before the first key stands before the dash: after it, it would belong to nothing.
            first = next(number for number, line in enumerate(lines) if line and not line.lstrip().startswith("#"))
            lead = [*self._dash_comment(chunk.first, dash_column), *lines[:first]]
            return [*_indented(lead, indent), f"{' ' * indent}- {lines[first].lstrip()}", *lines[first + 1 :]]
        head = self._lines[chunk.first][dash_column:].lstrip()
        shifted = self._shifted(chunk.first + 1, chunk.end, indent - (dash_column - 1), indent + 2)
        return [f"{' ' * indent}- {head}", *shifted]

    def _dash_comment(self, dash_line: int, dash_column: int) -> Lines:
        rest = self._lines[dash_line][dash_column:].lstrip()
        return [rest] if rest.startswith("#") else []

    def _dash_line(self, item: Node, dash_column: int) -> int:
        """The line of an item's dash: the item itself may begin further down."""
        for number in range(item.line - 1, -1, -1):
            if self._lines[number][dash_column : dash_column + 1] == "-":
                return number
        raise _not_in_lines(item.line)

    def _chunks(
        self, firsts: list[int], nodes: Sequence[Node | Entry], column: int, start: int, end: int
    ) -> tuple[list[_Chunk], Lines]:
        """Divides lines among entries; comments before an entry, and not indented deeper, are its own."""
        leads: list[int] = []
        for number, first in enumerate(firsts):
            if number == 0:
                leads.append(self._lead_start(first, start, column=_ANY_COLUMN))
            else:
                leads.append(self._lead_start(first, _end_line(nodes[number - 1]), column))
        footer_start = self._lead_start(end, _end_line(nodes[-1]), column) if nodes else end
        ends = [*leads[1:], footer_start]
        chunks = [
            _Chunk(self._lines[lead:first], first, max(stop, first + 1))
            for lead, first, stop in zip(leads, firsts, ends, strict=True)
        ]
        return chunks, self._lines[max(footer_start, 0) : end]

    def _lead_start(self, first: int, floor: int, column: int) -> int:
        """The first of the comment lines right before `first` that belong to it."""
        start = first
        while start > floor and self._belongs_below(self._lines[start - 1], column):
            start -= 1
        return start

    @staticmethod
    def _belongs_below(line: str, column: int) -> bool:
        return not line or (line.lstrip().startswith("#") and len(line) - len(line.lstrip()) <= column)

    def _shifted(self, start: int, end: int, by: int, least: int) -> Lines:
        """Lines moved sideways together, so that what they are to each other stays."""
        moved: Lines = []
        for line in self._lines[start:end]:
            text = line.lstrip()
            moved.append(" " * max(least, len(line) - len(text) + by) + text if text else "")
        return moved


def _is_block(node: Node) -> bool:
    return isinstance(node, Mapping | SequenceNode) and not node.is_flow


def _end_line(node: Node | Entry) -> int:
    """The number of the line after a node, counted from 0."""
    return node.value.end_line if isinstance(node, Entry) else node.end_line


def _indented(comments: Sequence[str], indent: int) -> Lines:
    return [" " * indent + line.lstrip() if line else "" for line in comments]


def _strip_blank_start(lines: Lines) -> Lines:
    first = next((number for number, line in enumerate(lines) if line), 0)
    return lines[first:]
