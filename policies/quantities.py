"""Quantities where they stand in a file: the value of a key with what it stands for."""

from collections.abc import Iterator

from policies import units
from policies.nodes import Node, Scalar, entry_of


def quantity_at(node: Node, name: str, unit: str) -> Iterator[tuple[Scalar, float]]:
    """The value of one key with what it stands for, where it stands for something."""
    entry = entry_of(node, name)
    if entry and isinstance(entry.value, Scalar):
        number = units.quantity(entry.value.text, unit)
        if number is not None:
            yield entry.value, number
