"""Which pods are started, stopped and killed so that the running ones become the desired ones."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.reconcile import (
    DRAIN_WITHIN_S,
    LOADS_WITHIN_S,
    Action,
    AwaitArchive,
    Forget,
    Kill,
    Phase,
    PodRecord,
    Start,
    Stop,
    awaiting,
    died,
    ended,
    in_question,
    reconcile,
    started,
    stopping,
)
from gateway.control.desired_pods import DesiredPod
from model_pod.wire.status import PodState

STORE = {"digits-1.mar", "digits-2.mar"}


def decide(
    desired: list[DesiredPod],
    records: dict[str, PodRecord],
    archives: set[str],
    states: dict[str, PodState],
    now_s: float,
    most_loading: int = 8,
) -> list[Action]:
    return reconcile(desired, records, archives, states, now_s, most_loading)


def questioned(
    desired: list[DesiredPod], records: dict[str, PodRecord], now_s: float = 0.0, most_loading: int = 8
) -> list[DesiredPod]:
    return in_question(desired, records, STORE, now_s, most_loading)


def pod(name: str = "digits/1/0", archive: str = "digits-1.mar", max_rows: int = 32) -> DesiredPod:
    model, version, _ = name.split("/")
    return DesiredPod(name, model, version, archive, "auto", f"unix:/state/{name}.sock", max_rows)


def running(a_pod: DesiredPod, since_s: float = 0.0) -> dict[str, PodRecord]:
    return {a_pod.name: PodRecord(a_pod, Phase.RUNNING, since_s)}


def test_a_desired_pod_is_started() -> None:
    assert decide([pod()], {}, STORE, {}, now_s=1.0) == [Start(pod())]


def test_a_running_pod_is_left_alone() -> None:
    assert decide([pod()], running(pod()), STORE, {}, now_s=1.0) == []


def test_a_pod_that_is_no_longer_desired_is_stopped() -> None:
    assert decide([], running(pod()), STORE, {}, now_s=1.0) == [Stop("digits/1/0", replaced=False)]


def test_a_running_pod_does_not_mind_that_its_archive_was_removed() -> None:
    assert decide([pod()], running(pod()), set(), {}, now_s=1.0) == []


def test_a_new_config_stops_the_pod_first_and_starts_its_successor_after_its_end() -> None:
    changed = pod(max_rows=8)
    assert decide([changed], running(pod()), STORE, {}, now_s=1.0) == [Stop("digits/1/0", replaced=True)]
    draining = {pod().name: stopping(running(pod())[pod().name], now_s=1.0)}
    assert decide([changed], draining, STORE, {}, now_s=2.0) == []
    assert decide([changed], {}, STORE, {}, now_s=3.0) == [Start(changed)]


def test_a_pod_that_does_not_finish_in_time_is_killed() -> None:
    draining = {pod().name: stopping(running(pod())[pod().name], now_s=1.0)}
    assert decide([], draining, STORE, {}, now_s=0.9 + DRAIN_WITHIN_S) == []
    assert decide([], draining, STORE, {}, now_s=1.0 + DRAIN_WITHIN_S) == [Kill("digits/1/0")]


def test_a_missing_archive_is_said_once_and_the_pod_starts_when_it_appears() -> None:
    assert decide([pod()], {}, set(), {}, now_s=1.0) == [AwaitArchive(pod())]
    waiting = {pod().name: awaiting(pod(), None, "", now_s=1.0)}
    assert decide([pod()], waiting, set(), {}, now_s=2.0) == []
    assert decide([pod()], waiting, STORE, {}, now_s=3.0) == [Start(pod())]


def test_another_missing_archive_is_said_again() -> None:
    waiting = {pod().name: awaiting(pod(), None, "", now_s=1.0)}
    other = pod(archive="other.mar")
    assert decide([other], waiting, set(), {}, now_s=2.0) == [AwaitArchive(other)]


def test_a_pod_goes_on_with_its_archive_until_the_new_one_is_there() -> None:
    records = running(pod())
    other = pod(archive="other.mar")
    assert decide([other], records, STORE, {}, now_s=1.0) == [AwaitArchive(other, meanwhile="digits-1.mar")]
    records[other.name] = awaiting(other, records[other.name], "digits-1.mar", now_s=1.0)
    assert decide([other], records, STORE, {}, now_s=2.0) == []
    assert decide([other], records, {"other.mar"}, {}, now_s=3.0) == [Stop(other.name, replaced=True)]


def test_a_pod_that_dies_while_its_new_archive_is_missing_is_started_again_with_the_old_one() -> None:
    other = pod(archive="other.mar")
    records = {other.name: died(awaiting(other, running(pod())[pod().name], "digits-1.mar", 1.0), now_s=60.0)}
    assert decide([other], records, STORE, {}, now_s=60.0) == [Start(pod())]
    records[other.name] = started(pod(), records[other.name], now_s=60.0)
    assert decide([other], records, STORE, {}, now_s=61.0) == []


def test_several_pods_load_only_as_far_as_processors_go() -> None:
    desired = [pod(f"digits/1/{index}") for index in range(4)]
    assert decide(desired, {}, STORE, {}, 0.0, most_loading=2) == [Start(desired[0]), Start(desired[1])]
    records = running(desired[0]) | running(desired[1])
    assert decide(desired, records, STORE, {}, 1.0, most_loading=2) == []
    assert decide(desired, records, STORE, {"digits/1/0": PodState.STARTING}, 1.0, most_loading=2) == []
    for state in (PodState.READY, PodState.FAILED):
        assert decide(desired, records, STORE, {"digits/1/0": state}, 1.0, most_loading=2) == [Start(desired[2])]
    late = decide(desired, records, STORE, {}, LOADS_WITHIN_S, most_loading=2)
    assert late == [Start(desired[2]), Start(desired[3])]


def test_those_that_load_are_asked_only_while_others_wait_for_their_turn() -> None:
    desired = [pod(f"digits/1/{index}") for index in range(3)]
    records = running(desired[0]) | running(desired[1])
    assert questioned(desired, records, most_loading=2) == desired[:2]
    assert questioned(desired, records, most_loading=3) == []
    assert questioned(desired, records | running(desired[2]), most_loading=2) == []
    assert questioned(desired, records, now_s=LOADS_WITHIN_S, most_loading=2) == []


def test_a_waiting_pod_that_is_no_longer_desired_is_forgotten() -> None:
    waiting = {pod().name: awaiting(pod(), None, "", now_s=1.0)}
    assert decide([], waiting, set(), {}, now_s=2.0) == [Forget("digits/1/0")]


def test_a_pod_that_dies_is_started_again_at_once() -> None:
    after = died(running(pod())[pod().name], now_s=60.0)
    assert decide([pod()], {pod().name: after}, STORE, {}, now_s=60.0) == [Start(pod())]


def test_a_pod_that_keeps_dying_at_its_start_waits_longer_each_time() -> None:
    record: PodRecord | None = None
    now_s = 0.0
    pauses = []
    for _ in range(4):
        record = died(started(pod(), record, now_s), now_s + 1.0)
        pauses.append(record.start_at_s - (now_s + 1.0))
        now_s = record.start_at_s
    assert pauses == [0.0, 0.5, 1.0, 2.0]


def test_a_new_config_is_tried_at_once_even_during_a_pause() -> None:
    record = died(started(pod(), None, 0.0), 1.0)
    waiting = {pod().name: replace(record, start_at_s=100.0)}
    assert decide([pod()], waiting, STORE, {}, now_s=2.0) == []
    assert decide([pod(max_rows=8)], waiting, STORE, {}, now_s=2.0) == [Start(pod(max_rows=8))]


def test_a_pod_that_was_told_to_finish_leaves_no_record() -> None:
    assert ended(stopping(running(pod())[pod().name], 1.0), now_s=2.0) is None


FIRST, SECOND, THIRD = "digits/1/0", "digits/1/1", "digits/1/2"


def all_ready(*names: str) -> dict[str, PodState]:
    return dict.fromkeys(names, PodState.READY)


def test_ready_pods_of_a_version_are_replaced_one_after_the_other() -> None:
    records = running(pod(FIRST)) | running(pod(SECOND)) | running(pod(THIRD))
    changed = [pod(name, max_rows=8) for name in (FIRST, SECOND, THIRD)]
    ready = all_ready(FIRST, SECOND, THIRD)
    assert decide(changed, records, STORE, ready, now_s=1.0) == [Stop(FIRST, replaced=True)]
    records[FIRST] = stopping(records[FIRST], now_s=1.0)
    assert decide(changed, records, STORE, ready, now_s=2.0) == []
    records[FIRST] = started(changed[0], None, now_s=3.0)
    assert decide(changed, records, STORE, all_ready(SECOND, THIRD), now_s=4.0) == []
    assert decide(changed, records, STORE, all_ready(SECOND, THIRD) | {FIRST: PodState.STARTING}, now_s=4.0) == []
    assert decide(changed, records, STORE, ready, now_s=5.0) == [Stop(SECOND, replaced=True)]


def test_nothing_is_replaced_while_it_is_not_known_who_is_ready() -> None:
    records = running(pod(FIRST)) | running(pod(SECOND))
    changed = [pod(name, max_rows=8) for name in (FIRST, SECOND)]
    assert decide(changed, records, STORE, {}, now_s=1.0) == []
    assert decide(changed, records, STORE, all_ready(FIRST), now_s=1.0) == []


def test_a_pod_that_is_not_ready_is_replaced_at_once_and_a_ready_one_after_it() -> None:
    records = running(pod(FIRST)) | running(pod(SECOND))
    changed = [pod(name, max_rows=8) for name in (FIRST, SECOND)]
    states = {FIRST: PodState.READY, SECOND: PodState.FAILED}
    assert decide(changed, records, STORE, states, now_s=1.0) == [Stop(SECOND, replaced=True)]


def test_the_pods_of_another_version_are_no_reason_to_wait() -> None:
    records = running(pod(FIRST)) | running(pod("digits/2/0"))
    changed = [pod(name, max_rows=8) for name in (FIRST, "digits/2/0")]
    stops = [Stop(FIRST, replaced=True), Stop("digits/2/0", replaced=True)]
    assert decide(changed, records, STORE, {}, now_s=1.0) == stops


def test_readiness_is_asked_only_where_a_replacement_depends_on_it() -> None:
    records = running(pod(FIRST)) | running(pod(SECOND)) | running(pod("digits/2/0"))
    same = [pod(FIRST), pod(SECOND), pod("digits/2/0")]
    assert questioned(same, records) == []
    assert questioned([pod(FIRST), pod(SECOND), pod("digits/2/0", max_rows=8)], records) == []
    changed = [pod(FIRST, max_rows=8), pod(SECOND, max_rows=8), pod("digits/2/0")]
    assert questioned(changed, records) == [pod(FIRST), pod(SECOND)]


NAMES = (FIRST, SECOND, "digits/2/0")
ARCHIVES = st.sampled_from(["digits-1.mar", "digits-2.mar", "gone.mar"])


@st.composite
def pods_of_any_kind(draw: st.DrawFn) -> list[DesiredPod]:
    """All pods of a version have one config, as the policy gives it to them."""
    config = {version: (draw(ARCHIVES), draw(st.integers(1, 2))) for version in "12"}
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return [pod(name, *config[name.split("/")[1]]) for name in names]


def apply(actions: list[Action], records: dict[str, PodRecord], now_s: float) -> None:
    """Do what the shell does, with processes that finish as soon as they are told to."""
    for action in actions:
        match action:
            case Start(a_pod):
                records[a_pod.name] = started(a_pod, records.get(a_pod.name), now_s)
            case AwaitArchive(a_pod, meanwhile):
                records[a_pod.name] = awaiting(a_pod, records.get(a_pod.name), meanwhile, now_s)
            case Stop(name) | Kill(name) | Forget(name):
                del records[name]


def serving(records: dict[str, PodRecord]) -> dict[str, PodState]:
    """Every pod that runs is ready."""
    return {name: PodState.READY for name, record in records.items() if record.phase is Phase.RUNNING}


@given(st.lists(pods_of_any_kind(), min_size=1, max_size=6))
def test_whatever_was_desired_before_the_desired_pods_run_in_the_end(desires: list[list[DesiredPod]]) -> None:
    records: dict[str, PodRecord] = {}
    for now_s, desired in enumerate(desires):
        apply(decide(desired, records, STORE, serving(records), now_s), records, now_s)
    for now_s in range(100, 106):
        apply(decide(desires[-1], records, STORE, serving(records), now_s), records, now_s)
    assert decide(desires[-1], records, STORE, serving(records), now_s=106) == []
    running_now = {record.pod for record in records.values() if record.phase is Phase.RUNNING}
    assert {a_pod for a_pod in desires[-1] if a_pod.archive in STORE} <= running_now
    # Where the archive is missing, pods go on with what they have.
    assert {a_pod.name for a_pod in running_now} <= {a_pod.name for a_pod in desires[-1]}


@given(pods_of_any_kind(), pods_of_any_kind())
def test_of_several_ready_pods_that_are_replaced_one_is_down_at_a_time(
    before: list[DesiredPod], after: list[DesiredPod]
) -> None:
    records = {a_pod.name: PodRecord(a_pod, Phase.RUNNING, 0.0) for a_pod in before}
    actions = decide(after, records, STORE, serving(records), now_s=1.0)
    replaced = [action.name for action in actions if isinstance(action, Stop) and action.replaced]
    assert len(replaced) == len({name.rpartition("/")[0] for name in replaced})
