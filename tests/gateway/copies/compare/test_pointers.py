"""A JSON Pointer finds a part, `*` every item's; what pointers name can be left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.compare.pointers import MISSING, part_at, pointer_of, without
from gateway.copies.compare.trees import Tensor

TREE: dict[str, Any] = {
    "a/b": {"~": 1},
    "items": [{"id": 1, "who": "x"}, {"id": 2, "who": "y"}],
    "*": "star",
    "data": Tensor("FP32", (2,), [0.5, 1.5]),
}


@pytest.mark.parametrize(
    ("pointer", "found"),
    [
        ("/a~1b/~0", 1),
        ("/items/1/id", 2),
        ("/items/*/id", [1, 2]),
        ("/*", "star"),
        ("/data/1", 1.5),
        ("/data/*", [0.5, 1.5]),
    ],
)
def test_a_pointer_finds_what_it_names(pointer: str, found: object) -> None:
    assert part_at(TREE, pointer) == found


@pytest.mark.parametrize(
    "pointer",
    ["/items/2", "/items/-1", "/items/x", "/items/*/name", "/a", "/a~1b/~0/x", "/items/9999999999", "/data/2"],
)
def test_a_pointer_to_nothing_finds_nothing(pointer: str) -> None:
    assert part_at(TREE, pointer) is MISSING


def test_all_of_a_tree_has_the_empty_pointer() -> None:
    assert part_at(TREE, "") is TREE
    assert part_at("cat", "") == "cat"
    assert part_at("cat", "/label") is MISSING


def test_what_is_left_out_is_gone_and_the_rest_keeps_its_place() -> None:
    tree = {"items": [{"id": 1, "who": "x"}, {"id": 2}], "list": [1, 2, 3], "kept": {"a": 1, "b": 2}}
    left = without(tree, ["/items/*/who", "/list/1", "/kept/a", "/nothing/here", "/list/7"])
    assert left == {"items": [{"id": 1}, {"id": 2}], "list": [1, None, 3], "kept": {"b": 2}}
    assert without(tree, ["/list/*"])["list"] == []
    assert tree["kept"] == {"a": 1, "b": 2}
    assert without(tree, [""]) is None


@given(st.lists(st.text(max_size=5), max_size=4), st.integers())
def test_a_pointer_made_of_steps_finds_its_way_back(steps: list[str], value: int) -> None:
    tree: Any = value
    for step in reversed(steps):
        tree = {step: tree}
    assert part_at(tree, pointer_of(steps)) == value
