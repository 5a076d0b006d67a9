"""What is compared: an address to ask, and the program whose CPU and memory are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from tests.benchmarks.processes import NotStarted, Program


class Skipped(Exception):
    """A contender cannot take part; the message is the line to print."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to the back end.

    Attributes:
        address: where the load connects.
        path: what it asks for.
        program: whose CPU is counted, with all that descends from it; None for the back end asked directly.
        serving_title: what the titles of its processes hold that serve, "" for any: the largest is its memory.
    """

    name: str
    address: str
    path: str
    program: Program | None
    serving_title: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """What runs.

    Attributes:
        skipped: a line for each contender that this machine does not have.
        broken: what each contender said that is here and did not start.
    """

    contenders: list[Contender]
    skipped: list[str]
    broken: list[str]


Start = Callable[[], AbstractContextManager[list[Contender]]]


def start_all(starts: Sequence[Start], stack: ExitStack) -> Started:
    """Start every contender that this machine has; none of them keeps the others from being measured."""
    found = Started([], [], [])
    for start in starts:
        try:
            found.contenders.extend(stack.enter_context(start()))
        except Skipped as reason:
            found.skipped.append(f"skipped: {reason}")
        except NotStarted as reason:
            found.broken.append(f"did not start: {reason}")
    return found
