"""Mistakes at nodes: what a check finds in a file, and the error with its place that comes of it."""

from typing import NamedTuple

from policies.errors import PolicyError
from policies.kinds import PolicyFile
from policies.nodes import Node


class Mistake(NamedTuple):
    """What is wrong at a node, and what to do about it."""

    node: Node
    problem: str
    fix: str


def placed(file: PolicyFile, mistake: Mistake) -> PolicyError:
    """A mistake of a file, with its place."""
    return PolicyError(file.path, mistake.node.line, mistake.node.column, mistake.problem, mistake.fix)
