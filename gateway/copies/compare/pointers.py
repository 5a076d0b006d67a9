"""Pointers: which part of a tree a JSON Pointer names, and a tree without the parts that some name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from gateway.copies.compare.trees import Tensor

EVERY = "*"


class Missing:
    """What a pointer finds where there is nothing."""


MISSING = Missing()


@lru_cache(maxsize=1024)
def steps_of(pointer: str) -> tuple[str, ...]:
    """Return a JSON Pointer's steps; none for "", which is all of the tree.

    Source: RFC 6901.
    """
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def pointer_of(steps: Iterable[str]) -> str:
    """Return the JSON Pointer of these steps."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def part_at(tree: Any, pointer: str) -> Any:
    """Return what a pointer names, ``MISSING`` where there is nothing.

    ``*`` stands for every item of a list: what the rest of the pointer names in each comes as a list, and is missing as
    a whole when one item lacks it. A tensor's elements are found under its ``data``.
    """
    return _found(tree, steps_of(pointer))


def without(tree: Any, pointers: Sequence[str]) -> Any:
    """Return the tree without what the pointers name; ``*`` stands for every item of a list."""
    for pointer in pointers:
        tree = _less(tree, steps_of(pointer))
    return tree


def _found(tree: Any, steps: tuple[str, ...]) -> Any:
    for at, step in enumerate(steps):
        if type(tree) is dict:
            tree = tree.get(step, MISSING)
        elif step == EVERY and type(tree) in (list, Tensor):
            return _of_each(tree, steps[at + 1 :])
        else:
            tree = _item(tree, step)
        if tree is MISSING:
            return MISSING
    return tree


def _of_each(tree: Any, steps: tuple[str, ...]) -> Any:
    items = tree.elements if type(tree) is Tensor else tree
    found = [_found(item, steps) for item in items]
    return MISSING if any(item is MISSING for item in found) else found


def _item(tree: Any, step: str) -> Any:
    items = tree.elements if type(tree) is Tensor else tree
    if type(items) is not list or not step.isdecimal() or len(step) > 9 or int(step) >= len(items):
        return MISSING
    return items[int(step)]


def _less(tree: Any, steps: tuple[str, ...]) -> Any:
    if not steps:
        return None
    first, rest = steps[0], steps[1:]
    if type(tree) is dict:
        if first not in tree:
            return tree
        kept = {key: value for key, value in tree.items() if key != first}
        return {**kept, first: _less(tree[first], rest)} if rest else kept
    if type(tree) is Tensor:
        return Tensor(tree.datatype, tree.shape, _less(tree.elements, steps))
    if type(tree) is not list:
        return tree
    if first == EVERY:
        return [_less(item, rest) for item in tree] if rest else []
    if not first.isdecimal() or len(first) > 9 or int(first) >= len(tree):
        return tree
    at = int(first)
    # An item that is dropped leaves null, so that the others keep their places.
    return [*tree[:at], _less(tree[at], rest), *tree[at + 1 :]]
