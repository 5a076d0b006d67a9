"""Nodes: what a policy file says, each value with the line and column where it stands."""

from collections.abc import Collection, Iterator
from functools import cache
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from policies.errors import quoted

Value: TypeAlias = str | int | float | bool | None


class Scalar(Struct, frozen=True, gc=False):
    """One word or number; `text` is as written, `value` what it is."""

    line: int
    column: int
    end_line: int
    text: str
    value: Value


class Sequence(Struct, frozen=True):
    """A list, written in lines or in brackets."""

    line: int
    column: int
    end_line: int
    is_flow: bool
    items: tuple["Node", ...]


class Entry(Struct, frozen=True):
    """One key of a mapping with its value."""

    key: Scalar
    value: "Node"


class Mapping(Struct, frozen=True):
    """Keys and values, written in lines or in braces; keyed by the text of the key."""

    line: int
    column: int
    end_line: int
    is_flow: bool
    entries: dict[str, Entry]


Node: TypeAlias = Scalar | Sequence | Mapping


def plain(node: Node) -> object:
    """The value of a node as dicts, lists and scalars."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {name: plain(entry.value) for name, entry in node.entries.items()}


def without(node: Mapping, places: Collection[tuple[int, int]]) -> Mapping:
    """A mapping less the entries whose keys stand at these lines and columns, however deep."""
    kept = {
        name: Entry(entry.key, _without(entry.value, places))
        for name, entry in node.entries.items()
        if (entry.key.line, entry.key.column) not in places
    }
    return replace(node, entries=kept)


def _without(node: Node, places: Collection[tuple[int, int]]) -> Node:
    if isinstance(node, Mapping):
        return without(node, places)
    if isinstance(node, Sequence):
        return replace(node, items=tuple(_without(item, places) for item in node.items))
    return node


class Found(Struct, frozen=True):
    """One place of a document that a path leads to: its full name, where its key (or item) stands, and its value."""

    name: str
    line: int
    column: int
    node: Node


def find(node: Node, path: str) -> Iterator[Found]:
    """Every place that a path such as "versions.*.pods.static[]" leads to, in the order of the file.

    `*` stands for every key and `[]` for every item. What has another shape than the path is passed over.
    """
    found = [Found("", node.line, node.column, node)]
    for step in _steps(path):
        found = [inner for outer in found for inner in _step(outer, step)]
        if not found:
            return
    yield from found


@cache
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.replace("[]", ".[]").split("."))


def _step(outer: Found, step: str) -> list[Found]:
    node = outer.node
    if step == "[]":
        items = node.items if isinstance(node, Sequence) else ()
        return [Found(f"{outer.name}[]", item.line, item.column, item) for item in items]
    if not isinstance(node, Mapping):
        return []
    if step == "*":
        return [_below(outer, name, entry) for name, entry in node.entries.items()]
    entry = node.entries.get(step)
    return [_below(outer, step, entry)] if entry else []


def _below(outer: Found, name: str, entry: Entry) -> Found:
    full_name = f"{outer.name}.{name}" if outer.name else name
    return Found(full_name, entry.key.line, entry.key.column, entry.value)


def entry_of(node: Node, name: str) -> Entry | None:
    """The entry of one key, where a node has keys and this one among them."""
    return node.entries.get(name) if isinstance(node, Mapping) else None


def text_of(node: Node, name: str) -> str:
    """What is written as the value of one key; "" where that is no single word."""
    entry = entry_of(node, name)
    return entry.value.text if entry and isinstance(entry.value, Scalar) else ""


def kind_of(node: Node) -> str:
    """What a node is, as it reads after "found"."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "keys and values"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"the truth value {node.text}"
    if isinstance(node.value, int | float):
        return f"the number {quoted(node.text)[1:-1]}"
    return f"the text {quoted(node.text)}"
