"""When a new generation goes in force, as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.control.desired import PodPlace
from gateway.control.handover import (
    LIMIT_S,
    GiveUp,
    Handover,
    SwitchNow,
    Takeover,
    Wait,
    begin,
    decide,
    failed_try,
    gone_on,
    not_ready,
)
from gateway.control.pod_table import PodRecord, PodTable
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Launch, Route, Static, Version

LAUNCHED = {name: Version(name, launch=Launch(f"digits-{name}.mar")) for name in ("1", "2")}
STATIC = {"1": LAUNCHED["1"], "2": Version("2", static=Static(("host:8500",)))}


def snapshot(stable: str, versions: dict[str, Version] = LAUNCHED, model: str = "digits") -> Snapshot:
    return Snapshot(int(stable), stable, Mesh("m"), routes={model: Route(model, "vision", versions, stable)})


def pods(**states: PodState) -> PodTable:
    """Return one pod for each version, such as ``v1=READY``."""
    table: PodTable = {}
    for name, state in states.items():
        place = PodPlace(f"digits/{name[1:]}/0", "digits", name[1:], f"unix:/{name}", None)
        message = "" if state is PodState.READY else f"it is {state}"
        table[place.name, place.address] = PodRecord(place, state, message=message)
    return table


READY, STARTING, FAILED = PodState.READY, PodState.STARTING, PodState.FAILED
FIRST_READY = pods(v1=READY)
WAITING = begin(snapshot("1"), snapshot("2"), FIRST_READY, now_s=0.0)


def test_a_version_that_becomes_stable_is_waited_for_until_it_is_ready() -> None:
    assert WAITING.awaited == (Takeover("digits", "2", "1"),)
    assert decide(WAITING, pods(v1=READY, v2=STARTING), 1, now_s=1.0) == Wait()
    assert decide(WAITING, pods(v1=READY, v2=READY), 1, now_s=2.0) == SwitchNow()


@pytest.mark.parametrize(
    ("before", "after", "table"),
    [
        (snapshot("1"), replace(snapshot("1"), generation=2), pods(v1=READY)),
        (snapshot("1"), snapshot("2"), pods(v1=READY, v2=READY)),
        (snapshot("1"), snapshot("2"), pods(v1=STARTING)),
        (snapshot("1"), snapshot("2", STATIC), pods(v1=READY)),
        (snapshot("1", model="letters"), snapshot("2"), pods(v1=READY)),
    ],
    ids=["same stable", "ready already", "the old one is not ready either", "somebody else runs it", "a new route"],
)
def test_what_loses_nothing_goes_in_force_at_once(before: Snapshot, after: Snapshot, table: PodTable) -> None:
    assert decide(begin(before, after, table, now_s=0.0), table, 1, now_s=0.0) == SwitchNow()


def test_a_version_without_a_ready_pod_at_the_limit_takes_nothing_from_one_that_serves() -> None:
    table = pods(v1=READY, v2=STARTING)
    assert decide(WAITING, table, 1, LIMIT_S - 0.1) == Wait()
    given_up = decide(WAITING, table, 1, LIMIT_S)
    assert isinstance(given_up, GiveUp)
    assert [str(error) for error in given_up.errors] == [
        "routes/digits.yaml:1:1: version 2 cannot be made stable: no pod of it is ready after 60 s (it is starting), "
        "and version 1 serves. See that its archive is there, and save the file again; if it takes longer to load, "
        "keep stable at 1 until `penstock status` shows a pod of 2 ready."
    ]
    assert isinstance(decide(WAITING, FIRST_READY, 1, LIMIT_S), GiveUp)


def test_where_nobody_serves_any_more_it_is_stable_at_the_limit_and_that_is_said() -> None:
    assert isinstance(decide(WAITING, pods(v1=PodState.RESTARTING, v2=STARTING), 1, LIMIT_S), GiveUp)
    for over in (PodState.DRAINING, STARTING, FAILED):
        table = pods(v1=over, v2=STARTING)
        assert decide(WAITING, table, 1, LIMIT_S - 0.1) == Wait()
        assert decide(WAITING, table, 1, LIMIT_S) == SwitchNow("digits/2 is not ready: it is starting")


def test_a_pod_that_restarts_or_is_out_of_sight_for_a_moment_is_not_taken_for_gone() -> None:
    ((key, record),) = pods(v1=STARTING).items()
    for table in (pods(v1=PodState.RESTARTING), {key: replace(record, was_ready=True)}):
        assert begin(snapshot("1"), snapshot("2"), table, now_s=0.0).awaited == WAITING.awaited


def test_models_that_get_ready_one_after_the_other_are_waited_for_longer() -> None:
    before, after = (
        Snapshot(int(to), to, Mesh("m"), routes={one: Route(one, "v", LAUNCHED, to) for one in ("letters", "digits")})
        for to in "12"
    )

    def table(letters: PodState, digits: PodState) -> PodTable:
        states = {("letters", "1"): READY, ("digits", "1"): READY, ("letters", "2"): letters, ("digits", "2"): digits}
        places = [PodPlace(f"{model}/{version}/0", model, version, "unix:/p", None) for model, version in states]
        return {(one.name, one.address): PodRecord(one, states[one.model, one.version]) for one in places}

    waiting = begin(before, after, table(STARTING, STARTING), now_s=0.0)
    assert gone_on(waiting, table(STARTING, STARTING), 50.0) is waiting
    longer = gone_on(waiting, table(READY, STARTING), 50.0)
    assert decide(longer, table(READY, STARTING), 1, 50.0 + LIMIT_S - 0.1) == Wait()
    assert isinstance(decide(longer, table(READY, STARTING), 1, 50.0 + LIMIT_S), GiveUp)
    assert gone_on(longer, table(STARTING, STARTING), 60.0) is longer
    assert gone_on(longer, table(READY, STARTING), 60.0) is longer


def test_a_version_whose_pod_fails_may_be_mended_until_the_limit_and_is_refused_then() -> None:
    table = pods(v1=READY, v2=FAILED)
    assert decide(WAITING, table, 1, LIMIT_S - 0.1) == Wait()
    given_up = decide(WAITING, table, 1, LIMIT_S)
    assert isinstance(given_up, GiveUp)
    assert [str(error) for error in given_up.errors] == [
        "routes/digits.yaml:1:1: version 2 cannot be made stable: pod digits/2/0 failed: it is failed. "
        "Mend its archive and save the file again."
    ]


def test_one_ready_pod_is_enough_beside_one_that_fails() -> None:
    place = PodPlace("digits/2/1", "digits", "2", "unix:/v2b", None)
    both = pods(v1=READY, v2=FAILED) | {(place.name, place.address): PodRecord(place, READY)}
    assert decide(WAITING, both, 1, now_s=1.0) == SwitchNow()


def test_a_try_that_no_worker_lived_through_is_repeated_once_when_one_accepts() -> None:
    again = failed_try(begin(snapshot("1"), snapshot("1"), FIRST_READY, now_s=0.0))
    assert again is not None
    assert decide(again, FIRST_READY, 0, now_s=1.0) == Wait()
    assert decide(again, FIRST_READY, 1, now_s=2.0) == SwitchNow()
    assert failed_try(again) is None


SERVES = (READY, PodState.RESTARTING)
STATES = st.sampled_from([READY, STARTING, FAILED, PodState.RESTARTING, PodState.DRAINING])


@given(st.sampled_from("12"), st.sampled_from("12"), STATES, STATES, STATES, STATES, st.floats(0.0, 2 * LIMIT_S))
def test_no_generation_takes_requests_from_a_ready_version_to_one_that_is_not(
    old: str, new: str, first: PodState, second: PodState, first_later: PodState, second_later: PodState, now_s: float
) -> None:
    handover: Handover = begin(snapshot(old), snapshot(new), pods(v1=first, v2=second), now_s=0.0)
    earlier, later = {"1": first, "2": second}, {"1": first_later, "2": second_later}
    decision = decide(handover, pods(v1=first_later, v2=second_later), 1, now_s)
    if old == new or earlier[old] not in SERVES or earlier[new] is READY or later[new] is READY:
        assert decision == SwitchNow()
    elif now_s < LIMIT_S:
        assert decision == Wait()
        assert not_ready(handover, pods(v1=first_later, v2=second_later)) == [Takeover("digits", new, old)]
    elif later[new] is FAILED or later[old] in SERVES:
        assert isinstance(decision, GiveUp)
    else:
        assert isinstance(decision, SwitchNow)
        assert decision.although
