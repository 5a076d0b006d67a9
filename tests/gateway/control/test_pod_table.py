"""What the pods are, from what probes found."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.control.desired import PodPlace
from gateway.control.desired_pods import DesiredPod
from gateway.control.pod_table import (
    SHOWN_CHARACTERS,
    Foreign,
    PodRecord,
    Silence,
    event,
    merge_places,
    observe,
    shown,
    with_unresolved,
)
from model_pod.wire.status import PodState, PodStatus

PLACE = PodPlace("digits/1/0", "digits", "1", "unix:/p", None)
REFUSED = Silence("nothing listens at its address", timed_out=False)
SLOW = Silence("no answer within 1 s", timed_out=True)


def account(state: PodState, message: str = "", was_ready: bool = False) -> PodStatus:
    return PodStatus("digits", "1", state, was_ready, message, device="cpu", load_s=1.25)


READY = observe(PodRecord(PLACE), account(PodState.READY), now_s=1.0)


def test_a_pod_is_starting_until_it_says_otherwise() -> None:
    view = observe(PodRecord(PLACE), REFUSED, now_s=1.0).view
    assert (view.state, view.was_ready) == (PodState.STARTING, False)


def test_a_pod_of_ours_that_has_not_come_may_lack_its_archive() -> None:
    place = replace(PLACE, launch=DesiredPod("digits/1/0", "digits", "1", "gone.mar", "cpu", "unix:/p"))
    message = observe(PodRecord(place), REFUSED, now_s=1.0).message
    assert message == "nothing listens at its address: it is being started, or waits for gone.mar in the model store"
    for record, silence in ((PodRecord(place), SLOW), (replace(READY, place=place), REFUSED)):
        assert observe(observe(record, silence, 2.0), silence, 3.0).message == silence.why


def test_the_first_ready_is_an_event() -> None:
    assert READY.view.was_ready
    assert event(PodRecord(PLACE), READY) == "pod digits/1/0 is ready on cpu, loaded in 1.2 s"


def test_a_lost_pod_is_still_remembered_as_once_ready() -> None:
    lost = observe(READY, REFUSED, now_s=2.0)
    assert (lost.view.state, lost.view.was_ready) == (PodState.STARTING, True)
    assert event(READY, lost) == "pod digits/1/0 is lost: nothing listens at its address"
    again = observe(lost, account(PodState.READY), now_s=3.0)
    assert event(lost, again).startswith("pod digits/1/0 is ready again")


def test_a_pod_started_anew_that_has_not_been_ready_keeps_its_place_s_memory() -> None:
    assert observe(READY, account(PodState.STARTING, was_ready=False), now_s=2.0).was_ready


def test_one_late_answer_changes_nothing_and_a_second_does() -> None:
    once = observe(READY, SLOW, now_s=2.0)
    assert once.view == READY.view
    assert observe(once, SLOW, now_s=3.0).state is PodState.STARTING
    assert observe(observe(once, account(PodState.READY), 3.0), SLOW, 4.0).view == READY.view


def test_a_foreign_server_is_ready_when_its_protocol_says_so() -> None:
    ready = observe(PodRecord(PLACE), Foreign(is_ready=True), now_s=1.0)
    assert (ready.view.state, ready.view.was_ready, ready.message) == (PodState.READY, True, "")
    assert observe(ready, Foreign(is_ready=False), now_s=2.0).view.was_ready


@pytest.mark.parametrize(("model", "version"), [("text", "1"), ("digits", "2")])
def test_a_pod_that_serves_something_else_is_not_ready_and_callers_are_told(model: str, version: str) -> None:
    other = replace(account(PodState.READY), model=model, version=version)
    for before in (PodRecord(PLACE), READY):
        found = observe(before, other, now_s=2.0)
        assert (found.view.state, found.view.was_ready) == (PodState.FAILED, before.was_ready)
        assert found.message == found.view.message == f"serves {model}/{version}, not digits/1"
        assert event(before, found) == f"pod digits/1/0 failed: {found.message}"
        assert observe(found, account(PodState.READY), now_s=3.0).view.state is PodState.READY


def test_why_a_foreign_server_is_not_ready_names_what_it_was_asked() -> None:
    assert observe(PodRecord(PLACE), Foreign(is_ready=False, path="/up"), 1.0).message == "/up does not answer 200"


def test_workers_are_told_whether_a_pod_speaks_the_link() -> None:
    assert observe(PodRecord(PLACE), replace(account(PodState.READY), link=1), 1.0).view.link == 1
    assert READY.view.link == 0
    assert PodRecord(PLACE).view.link == 0


def test_a_failure_is_told_once_and_again_when_its_reason_changes() -> None:
    failed = observe(PodRecord(PLACE), account(PodState.FAILED, "no such archive"), now_s=1.0)
    assert event(PodRecord(PLACE), failed) == "pod digits/1/0 failed: no such archive"
    assert event(failed, observe(failed, account(PodState.FAILED, "no such archive"), now_s=2.0)) == ""
    assert event(failed, observe(failed, account(PodState.FAILED, "bad handler"), now_s=2.0)) != ""


def test_a_new_generation_keeps_what_is_known_of_pods_that_stay() -> None:
    other = PodPlace("digits/2/0", "digits", "2", "unix:/q", None)
    moved = PodPlace("digits/1/0", "digits", "1", "host:1", None)
    table = merge_places({(PLACE.name, PLACE.address): READY}, [PLACE, other])
    assert [record.state for record in table.values()] == [PodState.READY, PodState.STARTING]
    assert not merge_places(table, [moved])["digits/1/0", "host:1"].was_ready


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        ("no archive /srv/models/digits-1.mar", "no archive digits-1.mar"),
        ("cannot open '/srv/m/a.pt': gone", "cannot open 'a.pt': gone"),
        ("digits/1 wants 3/4 of\nthe memory", "digits/1 wants 3/4 of the memory"),
        ("x" * 300, "x" * (SHOWN_CHARACTERS - 1) + "…"),
    ],
)
def test_callers_are_shown_a_short_message_without_folders(message: str, seen: str) -> None:
    assert shown(message) == seen
    assert observe(PodRecord(PLACE), account(PodState.FAILED, message), now_s=1.0).view.message == seen


def test_a_pod_that_says_nothing_has_no_message_for_callers() -> None:
    assert observe(PodRecord(PLACE), REFUSED, now_s=1.0).view.message == ""


def test_a_pod_whose_name_cannot_be_resolved_is_shown_beside_the_others_with_the_reason() -> None:
    named = PodPlace("digits/2/no-such.invalid:80", "digits", "2", "no-such.invalid:80", None)
    table = with_unresolved({("digits/1/0", "unix:/p"): READY}, [(named, "Name or service not known")])
    lost = table[named.name, named.address]
    assert list(table.values()) == [READY, lost]
    assert (lost.state, lost.message) == (PodState.STARTING, "its name cannot be resolved: Name or service not known")
    assert not with_unresolved({}, [(named, "")])[named.name, named.address].message.endswith(": ")
