"""How evidence is drawn: a full bar is a proof, and the curve stands still while nothing bad happens."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.shown.evidence import Chart, chart, claim_row
from telemetry.hub.shown.release_answers import Verdict
from tests.fakes.releases import AT_S, verdict


def read(**changed: Any) -> Verdict:
    return msgspec.convert(verdict(**changed), Verdict)


def drawn(**changed: Any) -> Chart:
    made = chart(read(**changed))
    assert made is not None
    return made


def corners(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (point.split(",") for point in points.split())]


@pytest.mark.parametrize(
    ("e_value", "width", "is_proved"),
    [
        (0.0, "0.000%", False),
        (1.0, "0.000%", False),
        (10.0, "50.000%", False),
        (100.0, "100.000%", True),
        (1e300, "100.000%", True),
        (None, "100.000%", True),
    ],
)
def test_a_bar_grows_with_the_logarithm_and_is_full_when_it_is_proved(
    e_value: float | None, width: str, is_proved: bool
) -> None:
    row = claim_row("it is safe", "safe", e_value, 100.0)
    assert (row.bar.width, row.is_proved) == (width, is_proved)


def test_before_anything_bad_there_is_no_curve() -> None:
    assert chart(read(history=[])) is None
    assert chart(read(history=[[AT_S, 0, 1.0, 1.0]])) is None


def test_a_curve_stays_until_the_next_moment_and_reaches_to_now() -> None:
    made = drawn(
        history=[[AT_S - 100, 1, 1.0, 1.0], [AT_S - 50, 2, 100.0, 0.1]],
        proved_at=100.0,
        within_budget=100.0,
        safe_at=1.0,
    )
    harm, safe = made.curves
    assert corners(harm.points) == [(0, 666.7), (500, 666.7), (500, 0), (1000, 0)]
    assert corners(safe.points) == [(0, 666.7), (500, 666.7), (500, 1000), (1000, 1000)]
    assert [(proof.kind, proof.tick.at) for proof in made.proofs] == [("harm", "0.000%"), ("safe", "66.667%")]
    assert (made.within_budget.at, made.within_budget.text) == ("0.000%", "within budget now 100")
    assert [column.bar.x for column in made.columns] == ["0.000%", "50.000%"]
    assert made.columns[1].title.endswith("harm 100, safe 0.10, 2 bad keys")


def test_what_no_axis_can_show_is_drawn_at_its_edge() -> None:
    made = drawn(history=[[AT_S - 10, 1, None, 0.0], [AT_S - 5, 2, 1e300, 1e-300]])
    harm, safe = made.curves
    assert {y for _, y in corners(harm.points)} == {0.0}
    assert {y for _, y in corners(safe.points)} == {1000.0}
    assert "harm ∞" in made.columns[0].title
    assert made.values[-1].text.startswith("10")


def test_one_moment_that_is_now_is_drawn_too() -> None:
    made = drawn(history=[[AT_S, 1, 2.0, 0.5]])
    assert [x for x, _ in corners(made.curves[0].points)] == [0.0, 0.0]


_E_VALUES = st.none() | st.floats(0, 1e300)


@given(st.lists(st.tuples(st.floats(0, 1e6), _E_VALUES, _E_VALUES), min_size=1, max_size=240), st.floats(2, 1e6))
def test_whatever_is_told_the_curve_lies_in_its_square_and_goes_to_the_right(
    moments: list[tuple[float, float | None, float | None]], proved_at: float
) -> None:
    history = [[AT_S + at_s, 1, harm, safe] for at_s, harm, safe in moments]
    made = drawn(history=history, proved_at=proved_at)
    assert len(made.values) <= 6
    for curve in made.curves:
        at = corners(curve.points)
        assert len(at) == 2 * len(history)
        assert [x for x, _ in at] == sorted(x for x, _ in at)
        assert all(0 <= x <= 1000 and 0 <= y <= 1000 and math.isfinite(y) for x, y in at)
