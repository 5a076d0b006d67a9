"""What the record says of a change of policy stays readable, whatever the change."""

from __future__ import annotations

from gateway.control.policy_changes import in_force, recalled, refused
from policies.errors import PolicyError


def test_a_generation_in_force_says_what_it_came_from_and_what_changed() -> None:
    change = in_force(3, 4, "d1", ["tier demo: rate 5/s -> 6/s"])
    assert (change.action, change.from_generation, change.to_generation) == ("policy.in_force", 3, 4)
    assert change.detail == {"digest": "d1", "changes": ["tier demo: rate 5/s -> 6/s"]}


def test_a_refusal_leaves_the_generation_and_a_long_one_is_shortened_with_its_count() -> None:
    change = refused(3, [PolicyError("limits.yaml", line, 1, "no", "Mend it.") for line in range(1, 81)])
    assert (change.from_generation, change.to_generation) == (3, 3)
    assert (len(change.detail["errors"]), change.detail["errors_in_all"]) == (50, 80)
    assert change.detail["errors"][0] == "limits.yaml:1:1: no. Mend it."


def test_a_recalled_generation_keeps_its_number() -> None:
    assert (recalled(3, "d1").from_generation, recalled(3, "d1").to_generation) == (3, 3)
