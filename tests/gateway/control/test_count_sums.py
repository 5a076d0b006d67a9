"""Sums over workers keep every count, and never tell more names apart than may be shown."""

from __future__ import annotations

from gateway.control.count_sums import ejections_of_both, waits_of_both
from gateway.control.messages import MAX_EJECTIONS, MAX_WAITS, WAIT_EDGES_S, Waits

NONE = (0,) * (len(WAIT_EDGES_S) + 1)
ONE = (1, *NONE[1:])


def waits(count: int, name: str) -> tuple[Waits, ...]:
    return tuple(Waits(f"{name}{number}", "gold", ONE, 0.5) for number in range(count))


def test_waits_of_one_model_and_tier_are_added() -> None:
    some = (Waits("digits", "gold", ONE, 0.5), Waits("text", "gold", ONE, 1.0))
    assert waits_of_both(some, (Waits("digits", "gold", ONE, 0.25),)) == (
        Waits("digits", "gold", (2, *NONE[1:]), 0.75),
        Waits("text", "gold", ONE, 1.0),
    )


def test_waits_beyond_what_is_told_apart_are_others() -> None:
    both = waits_of_both(waits(MAX_WAITS, "a"), waits(3, "b"))
    assert len(both) == MAX_WAITS + 1
    assert both[-1] == Waits("other", "other", (3, *NONE[1:]), 1.5)


def test_ejections_are_added_by_model_within_their_bound() -> None:
    assert ejections_of_both({"digits": 2}, {"digits": 1, "text": 4}) == {"digits": 3, "text": 4}
    full = {str(number): 1 for number in range(MAX_EJECTIONS)}
    both = ejections_of_both(full, {"digits": 1, "0": 1})
    assert (len(both), both["other"], both["0"]) == (MAX_EJECTIONS + 1, 1, 2)
