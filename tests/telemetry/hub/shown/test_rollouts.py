"""How canaries are drawn: those that need somebody first, and for each what it waits for and what may be done."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.hub.shown.release_answers import Rollout, Rollouts
from telemetry.hub.shown.rollouts import RolloutView, rollout_of, rollout_row, rollout_rows, rollout_view
from tests.fakes.hub import Json
from tests.fakes.releases import AT_S, STEP_S, arm, rolled_back, rollout, step, told, verdict


def read(made: Json) -> Rollout:
    return msgspec.convert(made, Rollout)


def view(**changed: Any) -> RolloutView:
    return rollout_view(read(rollout(**changed)), AT_S)


def typed(state: str, **changed: Any) -> list[str]:
    return [command.typed.split()[2] for command in view(state=state, **changed).commands]


def test_those_that_need_somebody_come_first() -> None:
    states = ["promoted", "running", "paused", "rolled back", "waiting"]
    every = told("rollouts", *(rollout(model=f"m{at}", state=state) for at, state in enumerate(states)))
    rows = rollout_rows(msgspec.convert(every, Rollouts))
    assert [row.rollout.state for row in rows] == ["paused", "waiting", "running", "rolled back", "promoted"]
    assert rollout_of(msgspec.convert(every, Rollouts), "m2") == rows[0].rollout
    assert rollout_of(msgspec.convert(every, Rollouts), "other") is None


def test_a_row_has_its_share_with_a_tick_at_each_step() -> None:
    row = rollout_row(read(rollout()), AT_S)
    assert (row.share, row.bar.width, row.short, row.step) == ("25\u202f%", "25.000%", "", "2 of 3")
    assert [tick.at for tick in row.ticks] == ["5.000%", "25.000%", "100.000%"]
    assert row.lasts == "3\u202fm 00\u202fs"
    assert row.verdict.startswith("Needs about 220 more bad keys")


def test_a_share_that_pods_hold_back_says_so() -> None:
    assert rollout_row(read(rollout(share=0.1)), AT_S).short == "of 25\u202f%"


@pytest.mark.parametrize(
    ("waiting_for", "words"),
    [
        ("hold", "its time, until 08:07:00"),
        ("traffic", "requests, 1\u202f500 of 2\u202f000"),
        ("verdict", "a verdict"),
        ("approval", "somebody to promote it"),
        ("capacity", "room in the new version's pods"),
        ("shadow", "shadow digits-2-dark to be called the same"),
        ("pods", "ready pods"),
        ("moonlight", "moonlight"),
    ],
)
def test_what_it_waits_for_is_told_in_words(waiting_for: str, words: str) -> None:
    made = rollout(waiting_for=[waiting_for], next_s=AT_S + 120)
    assert rollout_row(read(made), AT_S).waits == (words,)


def test_a_report_that_says_less_is_drawn_all_the_same() -> None:
    made = rollout(waiting_for=["traffic", "hold", "shadow"], steps=[], step=3, verdict=None, transitions=[])
    row = rollout_row(read(made), AT_S)
    assert row.waits == ("requests", "its time", "its shadow")
    assert (row.says, row.verdict_level, row.verdict) == ("no verdict yet", "none", "")
    seen = rollout_view(read(made), AT_S)
    assert (seen.arms, seen.claims, seen.chart, seen.burn, seen.changes) == ((), (), None, None, ())


def test_what_is_over_waits_for_nothing() -> None:
    assert rollout_row(read(rollout(state="promoted")), AT_S).waits == ()


def test_the_ladder_says_what_each_step_asks_for() -> None:
    first, now, last = view().ladder
    assert (first.state, now.state, last.state) == ("done", "now", "later")
    assert first.asks == ("2m", "200 requests")
    assert now.asks == ("2m", "2\u202f000 requests", "shadow digits-2-dark the same")
    assert last.asks == ("approval",)
    assert view(steps=[step(1.0, "now", hold_s=0.0, at_least=0)]).ladder[0].asks == ()
    assert view(steps=[step(0.25, "ended")]).ladder[0].state == "ended here"


def test_both_arms_are_counted_and_no_request_is_no_share() -> None:
    stable, candidate = view().arms
    assert (stable.name, stable.requests, stable.bad, stable.slow) == ("stable", "4\u202f520", "30", "21")
    assert (candidate.bad_share, candidate.bad_keys, candidate.wrong_labels) == ("0.73\u202f%", "4", "1")
    assert view(verdict=verdict(stable=arm("1"))).arms[0].bad_share == "–"


def test_each_claim_is_held_against_what_proves_it() -> None:
    harm, safe, budget = rollout_view(read(rolled_back()), AT_S).claims
    assert (harm.kind, harm.e_value, harm.is_proved) == ("harm", "2.4\u202f×\u202f10⁹", True)
    assert (safe.is_proved, budget.is_proved) == (False, False)
    _, safe, budget = view(verdict=verdict(safe=150.0, within_budget=150.0, safe_at=100.0, proved_at=300.0)).claims
    assert (safe.is_proved, budget.is_proved) == (True, True)


@pytest.mark.parametrize(
    ("changed", "is_hot"),
    [
        ({"rate": 1.47}, False),
        ({"rate": 7.0}, True),
        ({"rate": 7.0, "is_enough": False}, False),
        ({"above": None}, False),
    ],
)
def test_a_burn_is_hot_above_its_bound_when_there_are_enough_requests(changed: Json, is_hot: bool) -> None:
    burn = view(verdict=verdict(burn=verdict()["burn"] | changed)).burn
    assert burn is not None
    assert burn.is_hot is is_hot
    assert len(burn.ticks) == (0 if changed.get("above", 6.0) is None else 1)
    assert ("too few" in burn.note) is ("is_enough" in changed)


def test_without_a_burn_none_is_drawn() -> None:
    assert view(verdict=verdict(burn=None)).burn is None


def test_what_may_be_done_goes_by_the_state() -> None:
    assert typed("running") == ["status", "pause", "promote", "rollback"]
    assert typed("waiting") == ["status", "promote", "pause", "rollback"]
    assert typed("paused") == ["status", "resume", "rollback"]
    assert typed("promoted") == ["status", "rollback"]
    assert typed("rolled back") == ["status"]
    assert view(state="promoted").next == 'Make it lasting in routes/digits.yaml: write stable: "2" and remove canary.'
    assert "a new id" in view(state="rolled back").next
    assert view().next == ""


def test_a_name_cannot_become_more_than_one_word_of_a_command() -> None:
    assert view(model="a; rm -rf ~").commands[0].typed == "penstock rollout status 'a; rm -rf ~' --watch"


def test_changes_say_who_and_to_what() -> None:
    latest, first = view().changes
    assert (latest.to, latest.change.by, first.change.by) == ("step 2, 25\u202f%", "judge", "policy")
    assert latest.at == "2027-01-15 08:02:00 UTC"
    assert latest.change.at_s == AT_S - STEP_S
