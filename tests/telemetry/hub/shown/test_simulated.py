"""How a simulation is drawn: bars in the time shown, curves against each factor, and sentences of what is left."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec

from telemetry.hub.shown.answers import Simulation
from telemetry.hub.shown.simulated import SIDE, SimulationView, simulation_view
from telemetry.hub.simulations import find, parse, simulation_json
from tests.fakes.hub import counted_slots, mesh


def view(query: str) -> SimulationView:
    asked = parse(dict(parse_qsl(query)))
    answer = simulation_json(find(mesh()["slos"], "fast", "digits"), asked, counted_slots())
    return simulation_view(msgspec.json.decode(msgspec.json.encode(answer), type=Simulation))


def test_a_fault_is_drawn_with_the_time_after_it_begins() -> None:
    drawn = view("for=1h&bad_share=2%25")
    assert drawn.fault is not None
    assert float(drawn.fault.width.rstrip("%")) > 70
    page, slow, ticket = drawn.courses
    assert [(one.begins, one.ends) for one in page.fires] == [("after 44:40", "after 1:01:30")]
    assert (slow.fires, slow.says, ticket.says) == ((), "never", "never")
    assert "Held back at some time: not enough data" in page.note
    assert drawn.head.startswith("99.9\u202f% good over 30d; 2.0\u202f% of 100/s bad for 1\u202fh 00\u202fm, after")
    assert drawn.left[0].startswith("It takes 2.8\u202f% of the error budget: 97\u202f%")
    assert drawn.left[1].startswith("Of the budget as it is now, 29\u202f%")


def test_a_fault_with_a_beginning_is_told_in_moments() -> None:
    drawn = view("for=1h&bad_share=2%25&start=2027-01-15T08:00")
    assert drawn.courses[0].fires[0].begins == "2027-01-15 08:44:40 UTC"
    assert drawn.ticks[0].text == "01-15 08:00"
    assert "from 2027-01-15 08:00:00 UTC on" in drawn.head


def test_ticks_of_any_time_are_round_and_few() -> None:
    for length in ("10s", "10m", "1h", "1d", "7d"):
        ticks = view(f"for={length}&bad_share=50%25").ticks
        assert 2 <= len(ticks) <= 5
        assert ticks[0].text == "0:00"


def test_curves_stay_in_their_square_and_a_cut_is_said() -> None:
    drawn = view("for=10m")
    page = drawn.courses[0].chart
    assert page is not None
    assert page.is_cut  # all bad is a thousand times too fast
    for line in page.lines:
        corners = [tuple(map(float, point.split(","))) for point in line.points.split()]
        assert all(0 <= x <= SIDE and 0 <= y <= SIDE for x, y in corners)
    assert drawn.budget is not None


def test_a_replay_says_what_is_left_and_what_is_not_known() -> None:
    drawn = view("last=6h&target=99%25")
    assert drawn.fault is None
    assert len(drawn.unknown) == 1
    assert drawn.courses[0].fires == ()
    (before,) = drawn.courses[0].as_is
    assert (before.begins, before.ends) == ("2027-01-15 06:59:10 UTC", "2027-01-15 07:04:10 UTC")
    assert "99\u202f% of the error budget is left at the end. By the policy in force it is 88\u202f%." in drawn.left
    assert [note.split(" ")[0] for note in drawn.notes] == ["More", "For"]


def test_an_alert_that_fires_as_soon_as_it_is_judged_may_have_begun_before() -> None:
    (firing,) = view("last=1h").courses[0].fires
    assert (firing.begins, firing.ends) == ("2027-01-15 07:00:10 UTC or before", "2027-01-15 07:04:10 UTC")


def test_an_alert_that_can_never_fire_says_why() -> None:
    assert "at most 10x" in view("for=1h&target=90%25").courses[0].note
