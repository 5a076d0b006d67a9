"""What happens to the policy, as the audit log is told: a generation goes in force, is recalled, or is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from msgspec import Struct

from policies.errors import PolicyError

Outcome = Literal["in_force", "refused", "unchanged"]
"""What can become of a changed set of files."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

# The management API has all of them while they matter; a record for ever keeps to what a person reads.
_MOST_LINES = 50
_SWITCH = "policy.switch"


class PolicyChange(Struct, frozen=True):
    """One thing that happened to the policy.

    Attributes:
        action: "policy.switch", "policy.in_force", "policy.recalled" or "policy.refused".
        from_generation, to_generation: equal where the one in force stays; 0 for none.
        detail: digest, sentences.
    """

    action: str
    from_generation: int
    to_generation: int
    detail: dict[str, Any]

    @property
    def generation(self) -> int:
        """What is in force once this has happened."""
        return self.from_generation if self.action == _SWITCH else self.to_generation


def ignored(_: PolicyChange) -> None:
    """Take a change that nobody records."""


def switch(before: int, number: int, digest: str, changes: Sequence[str]) -> PolicyChange:
    """The workers are about to be told to decide by another generation; whether they do is another record."""
    return PolicyChange(_SWITCH, before, number, {"digest": digest, **_lines("changes", changes)})


def in_force(before: int, number: int, digest: str, changes: Sequence[str]) -> PolicyChange:
    """The files say something else than before, and that holds now."""
    return PolicyChange("policy.in_force", before, number, {"digest": digest, **_lines("changes", changes)})


def recalled(number: int, digest: str) -> PolicyChange:
    """A start whose files are refused goes on with the last good generation."""
    return PolicyChange("policy.recalled", number, number, {"digest": digest})


def refused(number: int, errors: Sequence[PolicyError]) -> PolicyChange:
    """The files are refused and what was in force stays so."""
    return PolicyChange("policy.refused", number, number, _lines("errors", [str(error) for error in errors]))


def _lines(name: str, lines: Sequence[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: list(lines[:_MOST_LINES])}
    return shown if len(lines) <= _MOST_LINES else {**shown, f"{name}_in_all": len(lines)}
