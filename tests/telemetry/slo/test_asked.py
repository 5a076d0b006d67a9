"""What a simulation is asked is read as people write it, and what cannot be is a sentence that says what to write."""

from __future__ import annotations

from fractions import Fraction

import pytest

from telemetry.slo.asked import CannotBe, changed, fault_of, never, past_of
from telemetry.slo.simulate import Fault
from tests.telemetry.slo.objectives import objective


def test_a_fault_is_read_exactly() -> None:
    assert fault_of("1.44%", "2h", "10000/m") == Fault(Fraction(144, 10_000), 7200, Fraction(10_000, 60))
    assert fault_of(" 100% ", "69s", "1/m") == Fault(Fraction(1), 60, Fraction(1, 60))
    assert fault_of("100%", "30d", "0.5/d").rate_per_s == Fraction(1, 172_800)


@pytest.mark.parametrize(
    ("given", "field", "mend"),
    [
        (("0%", "1h", "1/s"), "bad_share", "write more than 0%, and 100% at most"),
        (("101%", "1h", "1/s"), "bad_share", "write more than 0%, and 100% at most"),
        (("0.02", "1h", "1/s"), "bad_share", "0.02 what? Write 2% or 0.02%."),
        (("", "1h", "1/s"), "bad_share", "Write one such as 5%."),
        (("2%", "9s", "1/s"), "for", "write 10s to 30d"),
        (("2%", "31d", "1/s"), "for", "write 10s to 30d"),
        (("2%", "an hour", "1/s"), "for", "Write one such as 250ms."),
        (("2%", "1h", "0/s"), "rate", "write more than 0/s"),
        (("2%", "1h", "fast"), "rate", "Write one such as 300/s."),
        (("2%", "1h", "1e9/s"), "rate", "Write one such as 300/s."),
    ],
)
def test_a_fault_that_cannot_be_is_told_by_its_field(given: tuple[str, str, str], field: str, mend: str) -> None:
    with pytest.raises(CannotBe) as told:
        fault_of(*given)
    assert told.value.field == field
    assert told.value.mend.endswith(mend)


def test_a_hostile_text_is_cut() -> None:
    with pytest.raises(CannotBe) as told:
        fault_of("x" * 100_000, "1h", "1/s")
    assert len(str(told.value)) < 400


@pytest.mark.parametrize(("last", "length_s"), [("1m", 60), ("90s", 60), ("6h", 21_600), ("3d", 259_200)])
def test_how_much_of_the_past_is_whole_minutes(last: str, length_s: int) -> None:
    assert past_of(last) == length_s


@pytest.mark.parametrize("last", ["59s", "4d", "soon"])
def test_more_of_the_past_than_is_kept_finely_cannot_be(last: str) -> None:
    with pytest.raises(CannotBe, match="last"):
        past_of(last)


def test_another_target_and_other_factors_leave_the_rest() -> None:
    asked = changed(objective(0.999), "99.5%", {"page fast": "10x", "ticket slow": "1.5"})
    assert asked.target == 0.995
    assert [alert.factor for alert in asked.alerts] == [10.0, 6.0, 3.0, 1.5]
    assert changed(objective(0.999)) == objective(0.999)


@pytest.mark.parametrize(
    ("target", "factors", "mend"),
    [
        ("100%", {}, "write more than 0%, and less than 100%"),
        ("0%", {}, "write more than 0%, and less than 100%"),
        ("99.9", {}, "Write 99.9%."),
        ("", {"page": "3x"}, "its alerts with a factor are page fast, page slow, ticket fast, ticket slow"),
        ("", {"page fast": "0x"}, "write more than 0x"),
        ("", {"page fast": "much"}, "Write one such as 1.2x."),
    ],
)
def test_a_change_that_cannot_be_is_refused(target: str, factors: dict[str, str], mend: str) -> None:
    with pytest.raises(CannotBe) as told:
        changed(objective(0.999), target, factors)
    assert told.value.mend.endswith(mend)


def test_alerts_that_can_never_fire_are_told() -> None:
    assert never(objective(0.999)) == {}
    assert list(never(objective(0.9))) == ["page fast"]
