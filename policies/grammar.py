"""Checks what a file says against the type of its kind, and tells every mistake with its place and one fix.

The types are the only grammar: a new key of a schema module is known here without a change.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Final, NamedTuple

from msgspec import NODEFAULT, inspect

from policies import units
from policies.availability import available_keys
from policies.document import as_list_item
from policies.errors import PolicyError, quoted
from policies.nodes import Mapping as MappingNode
from policies.nodes import Node, Scalar, Sequence, kind_of
from policies.shapes import bare, type_of

Hints = Mapping[str, object]
MAX_SHOWN_ITEMS: Final = 8
# The values of one key often begin alike, such as rolling-24h and rolling-30d; only a slip of the pen is near enough.
_NEAR_CHOICE: Final = 0.8
# "20/s" and "14.4x", for keys whose numbers have no unit.
_NUMBER_WITH_UNIT: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:/s|x)")


class _Mistake(NamedTuple):
    line: int
    column: int
    problem: str
    fix: str


def check(root: Node, shape: type, file: str) -> list[PolicyError]:
    """Every mistake in what a file says; none means that it converts to `shape`."""
    return [PolicyError(file, *mistake) for mistake in _check(root, type_of(shape), {})]


def _check(node: Node, expected: inspect.Type, hints: Hints) -> Iterator[_Mistake]:
    """`hints` are the words there are for a value: its unit, or what is expected, an example, how to leave it out."""
    if isinstance(expected, inspect.Metadata):
        yield from _check(node, expected.type, {**hints, **(expected.extra or {})})
    elif isinstance(node, Scalar) and node.value is None:
        yield _Mistake(node.line, node.column, "there is no value here", _fill(expected, hints))
    elif isinstance(expected, inspect.UnionType):
        yield from _check_union(node, expected, hints)
    elif not _fits(node, expected):
        yield _wrong_kind(node, expected, hints)
    elif isinstance(expected, inspect.StructType):
        yield from _check_struct(node, expected)
    elif isinstance(expected, inspect.DictType):
        yield from _check_dict(node, expected)
    elif isinstance(expected, inspect.ListType):
        yield from _check_list(node, expected, hints)
    elif isinstance(node, Scalar):
        yield from _check_scalar(node, expected, hints)


def _fill(expected: inspect.Type, hints: Hints) -> str:
    """What to write where nothing is; a key that must be there is not to be removed."""
    shape = bare(expected)
    if isinstance(shape, inspect.StructType):
        fix = f"Write one of its keys: {', '.join(available_keys(shape))}"
    else:
        fix = f"Write one: {hints['about']}" if "about" in hints else "Write one"
    return f"{fix}, or {hints['leave_out']}." if "leave_out" in hints else f"{fix.removesuffix('.')}."


def _fits(node: Node, expected: inspect.Type) -> bool:
    """Whether a node is of the right sort, whatever it says."""
    shape = bare(expected)
    if isinstance(shape, inspect.StructType | inspect.DictType):
        return isinstance(node, MappingNode)
    if isinstance(shape, inspect.ListType):
        return isinstance(node, Sequence)
    if not isinstance(node, Scalar):
        return False
    if isinstance(shape, inspect.BoolType):
        return isinstance(node.value, bool)
    if isinstance(shape, inspect.IntType):
        return isinstance(node.value, int) and not isinstance(node.value, bool)
    if isinstance(shape, inspect.FloatType):
        return isinstance(node.value, int | float) and not isinstance(node.value, bool)
    return isinstance(node.value, str)


def _check_union(node: Node, expected: inspect.UnionType, hints: Hints) -> Iterator[_Mistake]:
    members = [member for member in expected.types if not isinstance(member, inspect.NoneType)]
    fitting = [member for member in members if _fits(node, member)] or members
    if len(fitting) == 1:
        yield from _check(node, fitting[0], hints)
    else:
        wanted = " or ".join(_expectation(member, hints) for member in members)
        yield _Mistake(node.line, node.column, f"expected {wanted}, found {kind_of(node)}", "Write one of them.")


def _check_struct(node: Node, expected: inspect.StructType) -> Iterator[_Mistake]:
    assert isinstance(node, MappingNode)  # noqa: S101 - _fits said so
    fields = _fields(expected.cls)
    absent = [name for name in fields if name not in node.entries]
    misspelt: set[str] = set()
    for name, entry in node.entries.items():
        if name in fields:
            field, words = fields[name]
            yield from _check(entry.value, field.type, words)
        else:
            misspelt.update(_closest(name, absent))
            fix = _did_you_mean(name, absent, offered=[one for one in available_keys(expected) if one in absent])
            yield _Mistake(entry.key.line, entry.key.column, f"unknown key {quoted(name)}", fix)
    for name in absent:
        field, _ = fields[name]
        if _is_required(field) and name not in misspelt:
            yield _Mistake(node.line, node.column, f'the key "{name}" is missing', _addition(field))


@cache
def _fields(shape: type) -> Mapping[str, tuple[inspect.Field, Hints]]:
    """The keys that a type names, each with the words for a value that is missing there."""
    struct = type_of(shape)
    assert isinstance(struct, inspect.StructType)  # noqa: S101 - only structs name keys
    return {field.encode_name: (field, _words(field)) for field in struct.fields}


def _words(field: inspect.Field) -> Hints:
    return {"about": _description(field)} if _is_required(field) else {"leave_out": "remove the key"}


def _is_required(field: inspect.Field) -> bool:
    return field.default is NODEFAULT and field.default_factory is NODEFAULT


def _addition(field: inspect.Field) -> str:
    """What to add: with the one value that a key may have, or a usual one, or else what it says."""
    shape = bare(field.type)
    if isinstance(shape, inspect.LiteralType) and len(shape.values) == 1:
        return f"Add {field.encode_name}: {shape.values[0]}."
    words = field.type.extra if isinstance(field.type, inspect.Metadata) else None
    if words and "usual" in words:
        return f"Add {field.encode_name}: {words['usual']}, for example."
    return f'Add "{field.encode_name}": {_description(field)}'


def _check_dict(node: Node, expected: inspect.DictType) -> Iterator[_Mistake]:
    assert isinstance(node, MappingNode)  # noqa: S101 - _fits said so
    if expected.min_length and len(node.entries) < expected.min_length:
        yield _Mistake(node.line, node.column, "there is nothing in it", "Add an entry.")
    for entry in node.entries.values():
        # A key that is a number has been told already, with the fix: quotes.
        if isinstance(entry.key.value, str):
            yield from _check(entry.key, expected.key_type, {})
        yield from _check(entry.value, expected.value_type, {"leave_out": "remove the key"})


def _check_list(node: Node, expected: inspect.ListType, hints: Hints) -> Iterator[_Mistake]:
    assert isinstance(node, Sequence)  # noqa: S101 - _fits said so
    if expected.min_length and len(node.items) < expected.min_length:
        fix = f"Add an item, or {hints['leave_out']}." if "leave_out" in hints else "Add an item."
        yield _Mistake(node.line, node.column, "the list is empty", fix)
    if expected.max_length and len(node.items) > expected.max_length:
        problem = f"the list has {len(node.items)} items"
        yield _Mistake(node.line, node.column, problem, f"Keep {expected.max_length} at most.")
    seen: set[object] = set()
    for item in node.items:
        yield from _check(item, expected.item_type, {"leave_out": "remove the item"})
        if isinstance(item, Scalar):
            if item.value in seen:
                yield _Mistake(
                    item.line, item.column, f"{quoted(item.text)} is in the list twice", "Keep one of the two."
                )
            seen.add(item.value)


def _check_scalar(node: Scalar, expected: inspect.Type, hints: Hints) -> Iterator[_Mistake]:
    mistake: tuple[str, str] | None = None
    if isinstance(expected, inspect.LiteralType):
        mistake = _literal_mistake(node, expected)
    elif "unit" in hints:
        mistake = _unit_mistake(node.text, hints)
    elif isinstance(expected, inspect.StrType):
        mistake = _text_mistake(node.text, expected, hints)
    elif isinstance(expected, inspect.IntType | inspect.FloatType):
        mistake = _number_mistake(node, expected)
    if mistake:
        yield _Mistake(node.line, node.column, *mistake)


def _literal_mistake(node: Scalar, expected: inspect.LiteralType) -> tuple[str, str] | None:
    if node.value in expected.values:
        return None
    problem = f"expected {_expectation(expected, {})}, found {kind_of(node)}"
    choices = [str(value) for value in expected.values]
    if close := _closest(node.text, choices, _NEAR_CHOICE):
        return problem, f'Did you mean "{close[0]}"?'
    return problem, f"Write {choices[0]}." if len(choices) == 1 else "Write one of them."


def _unit_mistake(text: str, hints: Hints) -> tuple[str, str] | None:
    try:
        number = units.read(text, str(hints["unit"]))
    except units.UnitError as error:
        return error.problem, error.fix
    at_most = hints.get("at_most")
    if isinstance(at_most, float) and number > at_most:
        return f"{text} is more than {hints['limit']}", f"Write {hints['limit']} or less."
    return None


def _text_mistake(text: str, expected: inspect.StrType, hints: Hints) -> tuple[str, str] | None:
    if _is_fitting(text, expected):
        return None
    # Where a JSON Pointer is asked for, most people write a name, or names with dots, first; some a JSONPath.
    pointer = f"/{text.removeprefix('$').removeprefix('.').replace('.', '/')}"
    fix = f"Write {pointer}." if text and _is_fitting(pointer, expected) else _for_example(hints)
    return f"expected {_expectation(expected, hints)}, found {quoted(text)}", fix


def _is_fitting(text: str, expected: inspect.StrType) -> bool:
    is_long_enough = expected.min_length is None or len(text) >= expected.min_length
    is_short_enough = expected.max_length is None or len(text) <= expected.max_length
    return is_long_enough and is_short_enough and bool(expected.pattern is None or re.fullmatch(expected.pattern, text))


def _number_mistake(node: Scalar, expected: inspect.IntType | inspect.FloatType) -> tuple[str, str] | None:
    number = node.value
    assert isinstance(number, int | float)  # noqa: S101 - _fits said so
    if _is_in_range(number, expected):
        return None
    return f"expected {_expectation(expected, {})}, found {node.text}", "Write a number in that range."


def _is_in_range(number: float, expected: inspect.IntType | inspect.FloatType) -> bool:
    too_small = (expected.ge is not None and number < expected.ge) or (
        expected.gt is not None and number <= expected.gt
    )
    too_large = (expected.le is not None and number > expected.le) or (
        expected.lt is not None and number >= expected.lt
    )
    return not (too_small or too_large)


def _wrong_kind(node: Node, expected: inspect.Type, hints: Hints) -> _Mistake:
    problem = f"expected {_expectation(expected, hints)}, found {kind_of(node)}"
    fix = _for_example(hints)
    if isinstance(node, Scalar) and isinstance(expected, inspect.StrType | inspect.LiteralType):
        mistake = _unit_mistake(node.text, hints) if "unit" in hints else None
        problem, fix = mistake or (f"expected text, found {kind_of(node)}", f'Write "{node.text}" in quotes.')
    elif isinstance(node, Scalar) and isinstance(expected, inspect.IntType | inspect.FloatType):
        fix = _as_number(node.text, expected)
    elif isinstance(expected, inspect.ListType):
        fix = _as_list(node, expected)
    elif isinstance(expected, inspect.BoolType):
        fix = "Write true or false."
    elif isinstance(expected, inspect.StructType):
        fix = f"Known keys here: {', '.join(available_keys(expected))}."
    return _Mistake(node.line, node.column, problem, fix)


def _as_number(text: str, expected: inspect.IntType | inspect.FloatType) -> str:
    """How a number that is in quotes, or has a unit that its key implies, is written plainly."""
    if text.isdigit():
        return f"Write {text} without quotes."
    number = _NUMBER_WITH_UNIT.fullmatch(text)
    is_whole_enough = number is not None and (isinstance(expected, inspect.FloatType) or number[1].isdigit())
    if number is None or not is_whole_enough or not _is_in_range(float(number[1]), expected):
        return "Write a number."
    return f"Write {number[1]}."


def _as_list(node: Node, expected: inspect.ListType) -> str:
    """How what was written one by one, or with commas alone, is written as a list."""
    item = bare(expected.item_type)
    if isinstance(item, inspect.StructType):
        return f"Begin each item with a dash; its keys are {', '.join(available_keys(item))}."
    if not isinstance(node, Scalar):
        return "Write its items in [ ], with commas between them."
    words = [word for part in node.text.split(",") if (word := part.strip(" '\""))]
    if isinstance(item, inspect.IntType):
        if not all(word.isdigit() for word in words):
            return "Write whole numbers in [ ], with commas between them."
    else:
        words = [as_list_item(word) for word in words]
    return f"Write [{', '.join(words[:MAX_SHOWN_ITEMS])}{', …' if len(words) > MAX_SHOWN_ITEMS else ''}]."


def _expectation(expected: inspect.Type, hints: Hints) -> str:
    """What a value should be, as it reads after "expected"."""
    if isinstance(expected, inspect.Metadata):
        return _expectation(expected.type, {**hints, **(expected.extra or {})})
    if isinstance(expected, inspect.LiteralType):
        choices = [f'"{value}"' for value in expected.values]
        return choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}"
    if "unit" in hints:
        unit = units.UNITS[str(hints["unit"])]
        return f"{unit.noun} such as {unit.example}"
    if "expected" in hints:
        return str(hints["expected"])
    return _plain_expectation(expected)


def _plain_expectation(expected: inspect.Type) -> str:
    if isinstance(expected, inspect.IntType | inspect.FloatType):
        noun = "a whole number" if isinstance(expected, inspect.IntType) else "a number"
        lower = f" from {expected.ge}" if expected.ge is not None else ""
        lower = f" above {expected.gt:g}" if expected.gt is not None else lower
        upper = f" to {expected.le:g}" if expected.le is not None and expected.le < 10**6 else ""
        return noun + lower + (f" below {expected.lt:g}" if expected.lt is not None else upper)
    if isinstance(expected, inspect.ListType):
        return "a list"
    if isinstance(expected, inspect.BoolType):
        return "true or false"
    return "text" if isinstance(expected, inspect.StrType) else "keys and values"


def _for_example(hints: Hints) -> str:
    if "fix" in hints:
        return str(hints["fix"])
    example = hints.get("example")
    return f"Write one such as {example}." if example else "Write that instead."


def _did_you_mean(word: str, known: Iterable[str], offered: list[str]) -> str:
    """The known word that is near, else those on offer: a word may be known before it can be used."""
    if close := _closest(word, known):
        return f'Did you mean "{close[0]}"?'
    return f"Known here: {', '.join(offered)}." if offered else "Remove it."


def _closest(word: str, known: Iterable[str], near: float = 0.6) -> list[str]:
    """The one known word that was probably meant, if there is one."""
    return difflib.get_close_matches(word[:60], list(known), n=1, cutoff=near)


def _description(field: inspect.Field) -> str:
    schema = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
    return str((schema or {}).get("description", "a value."))
