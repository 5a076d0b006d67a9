"""What is wrong with a policy directory: every error with its place, what was expected and one fix."""

import json
from collections.abc import Iterable

from msgspec import Struct

from policies.pasted import without_secrets

MAX_QUOTED_CHARACTERS = 60


class PolicyError(Struct, frozen=True, order=True):
    """One mistake in one place; lines and columns count from 1.

    Attributes:
        file: path below the policy directory.
        problem: what is wrong, without a full stop.
        fix: one sentence that says what to do.
    """

    file: str
    line: int
    column: int
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {advice(self.problem, self.fix)}"


class PolicyRefused(Exception):
    """A policy directory is refused as a whole.

    Attributes:
        errors: all of them, as they were given: by file and line.
    """

    def __init__(self, errors: Iterable[PolicyError]) -> None:
        self.errors: tuple[PolicyError, ...] = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


def advice(problem: str, fix: str) -> str:
    """A problem and its fix as sentences: a problem that asks has its mark already."""
    return f"{problem}{'' if problem.endswith('?') else '.'} {fix}"


def quoted(text: str) -> str:
    """Text from a file as an error shows it: on one line, printable, short and without secrets."""
    text = without_secrets(text)
    shown = text if len(text) <= MAX_QUOTED_CHARACTERS else text[: MAX_QUOTED_CHARACTERS - 1] + "…"
    escaped = json.dumps(shown, ensure_ascii=False)
    return escaped if escaped.isprintable() else json.dumps(shown)
