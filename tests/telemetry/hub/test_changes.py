"""What was changed of a model: steps of its canary and policies that named it, and nothing of others."""

from __future__ import annotations

import pytest

from telemetry.hub.changes import MAX_CHANGES, MAX_TEXT, Json, changes_of

STEP = {"at_s": 200.0, "to_state": "running", "share": 0.2, "step": 1}
ROLLOUTS = {
    "rollouts": [
        {"model": "digits", "version": "2", "transitions": [STEP]},
        {"model": "text", "version": "9", "transitions": [STEP]},
    ]
}


def record(*lines: str, at: str = "1970-01-01T00:01:40.000+00:00", action: str = "policy.in_force") -> Json:
    return {"at": at, "action": action, "to_generation": 4, "detail": {"digest": "d", "changes": list(lines)}}


def test_steps_and_policies_are_told_oldest_first() -> None:
    records = [record("route digits: stable 1 -> 2", "route text: stable 1 -> 2"), record("tenant demo added")]
    assert changes_of("digits", ROLLOUTS, records) == [
        {"at_s": 100.0, "kind": "policy", "text": "policy 4: route digits: stable 1 -> 2"},
        {"at_s": 200.0, "kind": "canary", "text": "canary 2: running, 0.2 of requests"},
    ]


def test_a_model_whose_name_begins_another_is_not_taken_for_it() -> None:
    assert changes_of("dig", ROLLOUTS, [record("route digits: stable 1 -> 2")]) == []
    assert changes_of("digits", None, [record("route digits added")])[0]["text"] == "policy 4: route digits added"


def test_what_is_announced_and_not_in_force_is_no_change() -> None:
    assert changes_of("digits", None, [record("route digits: stable 1 -> 2", action="policy.switch")]) == []


@pytest.mark.parametrize(
    "records",
    [["text"], [{}], [{"detail": 7}], [record("route digits added", at="soon")], [{"detail": {"changes": 5}}]],
)
def test_records_of_another_shape_are_passed_over(records: list[object]) -> None:
    assert changes_of("digits", {"rollouts": [7, {"model": "digits", "transitions": [{}, 5]}]}, records) == []


def test_changes_are_bounded_in_number_and_length() -> None:
    many = [record(f"route digits: {'x' * 500}") for _ in range(MAX_CHANGES + 50)]
    found = changes_of("digits", None, many)
    assert len(found) == MAX_CHANGES
    assert len(found[0]["text"]) == MAX_TEXT
