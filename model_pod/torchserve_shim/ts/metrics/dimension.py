"""A name and a value by which a metric is told apart."""

from __future__ import annotations


class Dimension:
    """One label of a metric."""

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"
