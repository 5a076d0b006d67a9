"""What would fire: the URL's query is read or refused with a sentence, and the answer is that of the one judge."""

from __future__ import annotations

from fractions import Fraction
from urllib.parse import parse_qsl

import pytest

from telemetry.hub.query import BadQuery
from telemetry.hub.simulations import Asked, NoObjective, find, is_asked, parse, simulation_json
from telemetry.slo.simulate import Fault
from tests.fakes.hub import Json, counted_slots, mesh


def asked(query: str) -> Asked:
    return parse(dict(parse_qsl(query, keep_blank_values=True)))


def told(query: str, slots: bool = True) -> Json:
    """Return the answer for the objective of the fake mesh."""
    wanted = asked(query)
    return simulation_json(find(mesh()["slos"], "fast", "digits"), wanted, counted_slots() if slots else None)


def test_a_query_is_read_and_what_it_leaves_out_is_usual() -> None:
    assert asked("slo=fast&model=digits&bad_share=2%25").fault == Fault(Fraction(1, 50), 600, Fraction(100))
    assert asked("slo=fast&for=1h&rate=&start=&target=&alert=&factor=").fault == Fault(Fraction(1), 3600, Fraction(100))
    past = asked("slo=fast&model=digits&last=6h&target=99%25&alert=page 1h&factor=10x")
    assert (past.fault, past.last_s, past.target, past.factors) == (None, 21_600, "99%", {"page 1h": "10x"})


@pytest.mark.parametrize(
    ("query", "is_one"), [("slo=fast&model=digits", False), ("for=1h", True), ("last=6h", True), ("last= ", False)]
)
def test_an_objective_alone_is_no_question(query: str, is_one: bool) -> None:
    assert is_asked(dict(parse_qsl(query, keep_blank_values=True))) is is_one


@pytest.mark.parametrize(
    ("start", "at_s"),
    [
        ("2027-01-15T08:00", 1_800_000_000.0),
        ("2027-01-15T08:00:00", 1_800_000_000.0),
        ("2027-01-15T08:00:00Z", 1_800_000_000.0),
        ("2027-01-15T10:00:00%2B02:00", 1_800_000_000.0),
    ],
)
def test_a_beginning_is_utc_where_it_names_no_zone(start: str, at_s: float) -> None:
    assert asked(f"for=1h&start={start}").begins_s == at_s


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("bad_share=2", "bad_share cannot be 2: 2 what? Write 2%."),
        ("bad_share=0%25", "bad_share cannot be 0%: write more than 0%, and 100% at most."),
        ("for=8d", "for cannot be 8d: write 10s to 7d."),
        ("for=1h&rate=0/s", "rate cannot be 0/s: write more than 0/s."),
        ("last=4d", "last cannot be 4d: write 1m to 3d."),
        ("for=1h&start=soon", "start cannot be soon"),
        ("for=1h&start=2027-02-30T08:00", "is not a day and time that exists"),
        ("last=6h&for=1h", "write either."),
        ("for=1h&alert=page 1h", "alert and factor go together"),
        ("last=6h&within=100ms", "Another latency threshold cannot be tried"),
        ("for=1h&colour=red", "colour says nothing here: slo, model, bad_share"),
        (f"for={'1' * 300}h", "A value has at most 256 characters."),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_write(query: str, sentence: str) -> None:
    with pytest.raises(BadQuery) as refused:
        asked(query)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("for=1h&target=100%25", "target cannot be 100%: write more than 0%, and less than 100%."),
        ("for=1h&alert=none&factor=2x", "its alerts with a factor are page 1h, page 6h, ticket 3d."),
        ("last=1h&alert=page 1h&factor=much", "Write one such as 1.2x."),
    ],
)
def test_a_change_that_cannot_be_is_refused_too(query: str, sentence: str) -> None:
    with pytest.raises(BadQuery) as refused:
        told(query)
    assert sentence.lower() in str(refused.value).lower()


def test_an_objective_that_is_not_there_is_said_not_to_be() -> None:
    assert find(mesh()["slos"], "fast", "").model == "digits"
    assert find(mesh()["slos"], "fast", "text").model == "text"
    with pytest.raises(NoObjective, match="has the objective slow"):
        find(mesh()["slos"], "slow", "")


def test_a_fault_is_told_with_its_course_its_cost_and_the_line_of_a_terminal() -> None:
    answer = told("slo=fast&model=digits&bad_share=2%25&for=1h&rate=1000/m&start=2027-01-15T08:00")
    (page, slow, ticket) = answer["courses"]
    # S1 of the worked examples, with the guard against chance: it begins three minutes later.
    assert [[-(-one["begins_s"] // 60), -(-one["ends_s"] // 60)] for one in page["fires"]] == [[47, 62]]
    assert "may be chance" in page["held_back"]
    assert not slow["fires"] + ticket["fires"]
    assert answer["cost"] == pytest.approx(1 / 36)
    assert answer["remaining_ratio"] == pytest.approx(35 / 36)
    assert answer["remaining_now"] == pytest.approx(0.316, abs=1e-3)
    assert answer["begins_s"] == 1_800_000_000.0
    assert answer["command"] == "penstock slo simulate fast --bad-share 2% --for 1h --rate 1000/m --policies POLICIES"
    curve = answer["curve"]
    assert {len(curve["moments_s"])} == {len(curve["remaining"]), *map(len, curve["burn"].values())}
    assert len(curve["moments_s"]) <= 241
    assert max(curve["burn"]["300"]) == pytest.approx(20.0)


def test_an_alert_that_can_never_fire_is_told_with_why() -> None:
    answer = told("slo=fast&for=1h&target=90%25")
    assert "the budget burns at most 10x" in answer["courses"][0]["never"]
    assert answer["is_changed"] is True
    assert (answer["target"], answer["policy_target"]) == (0.9, 0.999)


def test_the_past_is_judged_by_what_is_asked_and_beside_it_by_the_policy() -> None:
    as_is = told("slo=fast&model=digits&last=6h")
    assert as_is["is_changed"] is False
    (fires,) = as_is["courses"][0]["fires"]
    assert as_is["courses"][0]["as_is"] == (fires,)
    lax = told("slo=fast&model=digits&last=6h&target=99%25&alert=page 1h&factor=20x")
    assert not lax["courses"][0]["fires"]
    assert lax["courses"][0]["as_is"] == (fires,)
    assert lax["command"] == ("penstock slo simulate fast --last 6h --model digits --target 99% --factor 'page 1h=20x'")
    assert lax["remaining_ratio"] > lax["remaining_now"]
    assert lax["begins_s"] == 1_800_000_000 - 21_600
    assert lax["unknown"] == [[9000.0, 9600.0]]
    assert lax["every_s"] == 60


def test_without_what_was_counted_there_is_no_past_to_judge() -> None:
    answer = told("slo=fast&last=6h", slots=False)
    assert answer["courses"] == []
    assert "does not tell" in answer["error"]
