"""The copies desk: what it is told of shadows and replays, and what people have done."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from gateway.control.copies_desk import FAILED, MOST_REPLAYS, RUNNING, CopiesAway, CopiesDesk
from gateway.copies.messages import (
    AskReplay,
    AskSamples,
    CopyCounts,
    Forget,
    LabelEvent,
    Labelled,
    Replayed,
    SamplesTold,
    Shadows,
    ToCopies,
)
from gateway.copies.reports import Difference, Fourfold, LabelReport, ReplayReport, ShadowReport, ShadowSays
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.release import Shadow
from policies.snapshot.route import Route
from policies.snapshot.tenant import Tenant

REPORT = ShadowReport(
    model="digits",
    name="dark",
    version="2",
    generation=1,
    since_s=0.0,
    at_s=1.0,
    says=ShadowSays.SAME,
    because="",
    compared=10,
    differ=1,
    repeats=0,
    repeats_differ=0,
    harm=1.0,
    safe=200.0,
    proved_at=100.0,
    needs=0,
    answers=Fourfold(10),
    latency=None,
    labels=LabelReport(),
    outputs=(),
    slices=(),
    worst=(),
    not_copied={"no_pod": 3},
    device_s=0.0,
)


def running(desk: CopiesDesk) -> list[ToCopies]:
    """Return what the process is told."""
    told: list[ToCopies] = []
    desk.attach(told.append)
    return told


def generation(*shadows: str) -> Snapshot:
    route = Route("digits", "vision", {}, "1", shadows=tuple(Shadow(name, "2", 1.0) for name in shadows))
    return Snapshot(1, "", Mesh(""), routes={"digits": route})


def test_a_verdict_is_what_was_told_last_and_of_a_shadow_that_is_still_in_policy() -> None:
    desk = CopiesDesk()
    assert desk.verdict("digits", "dark") is None
    desk.heard(Shadows((REPORT,)))
    assert desk.verdict("digits", "dark") is ShadowSays.SAME
    desk.follow(generation("dark"))
    assert desk.reports == (REPORT,)
    desk.follow(generation("other"))
    assert desk.verdict("digits", "dark") is None


def test_a_verdict_on_another_version_of_the_same_name_does_not_count() -> None:
    desk = CopiesDesk()
    desk.follow(generation("dark"))
    desk.heard(Shadows((REPORT,)))
    assert desk.verdict("digits", "dark") is ShadowSays.SAME
    other = Route("digits", "vision", {}, "1", shadows=(Shadow("dark", "3", 1.0),))
    now = replace(generation(), generation=2, routes={"digits": other})
    desk.follow(now)
    assert desk.verdict("digits", "dark") is None
    desk.heard(Shadows((REPORT,)))  # it was on its way
    assert desk.verdict("digits", "dark") is None
    desk.follow(replace(now, generation=3))
    desk.heard(Shadows((replace(REPORT, version="3", generation=2),)))
    assert desk.verdict("digits", "dark") is ShadowSays.SAME


def test_a_verdict_outlives_the_process_that_told_it() -> None:
    desk = CopiesDesk()
    running(desk)
    desk.heard(Shadows((REPORT,)))
    desk.detach()
    assert desk.verdict("digits", "dark") is ShadowSays.SAME


def test_everybody_who_wants_to_hears_of_late_labels() -> None:
    desk = CopiesDesk()
    heard: list[Any] = []
    desk.on_labelled += [heard.append, heard.append]
    event = LabelEvent("digits", "1", "stable", "gold", 0.0, True, "", None, 0)
    desk.heard(Labelled((event,)))
    assert heard == [(event,), (event,)]


def test_counts_are_those_that_were_told_last() -> None:
    desk = CopiesDesk()
    counts = CopyCounts({"digits": {"dark": {"compared": 1}}}, {}, {})
    desk.heard(counts)
    assert desk.counts is counts


def test_a_replay_is_asked_for_told_of_and_cancelled() -> None:
    desk = CopiesDesk()
    told = running(desk)
    begun = desk.ask_replay("digits", "2", "dark", 10)
    assert told == [AskReplay(begun.number, "digits", "2", "dark", 10)]
    assert (begun.state, desk.replay("digits", begun.number)) == (RUNNING, begun)
    assert desk.replay("letters", begun.number) is None
    done = msgspec.structs.replace(begun, state="done", sent=10)
    desk.cancel_replay("digits", begun.number)
    assert told[1:] == [AskReplay(begun.number, "digits", "2", is_cancel=True)]
    desk.heard(Replayed(done))
    assert desk.replay("digits", begun.number) == done
    assert desk.cancel_replay("digits", begun.number) == done
    assert len(told) == 2


def test_a_replay_has_failed_when_the_process_ends() -> None:
    desk = CopiesDesk()
    running(desk)
    begun = desk.ask_replay("digits", "2")
    desk.detach()
    report = desk.replay("digits", begun.number)
    assert report is not None
    assert (report.state, bool(report.because)) == (FAILED, True)


def test_without_the_process_nothing_can_be_asked_for() -> None:
    desk = CopiesDesk()
    with pytest.raises(CopiesAway):
        desk.ask_replay("digits", "2")
    with pytest.raises(CopiesAway):
        desk.forget("digits", "dark")
    told = running(desk)
    desk.forget("digits", "")
    assert told == [Forget("digits", "")]
    assert desk.is_up


@pytest.mark.parametrize(("later_s", "is_copied", "kept"), [(3599.0, True, 1), (3601.0, True, 0), (0.0, False, 0)])
def test_differences_are_kept_as_long_as_policy_says_and_the_tenant_allows(
    later_s: float, is_copied: bool, kept: int
) -> None:
    now_s = 1000.0
    desk = CopiesDesk(lambda: now_s)
    tenant = Tenant("ads", "ads", "gold", (), (), is_copied=True)
    desk.follow(replace(generation("dark"), tenants={"ads": tenant}))
    running(desk)
    begun = desk.ask_replay("digits", "2")
    worst = (Difference("r1", "", "ads", now_s, "", 1.0, '"planted"', ""),)
    report = replace(REPORT, worst=worst, keep="bodies", keep_s=3600.0)
    desk.heard(Shadows((report,)))
    desk.heard(Replayed(replace(begun, state="done", report=report)))
    desk.detach()
    now_s += later_s
    desk.follow(replace(generation("dark"), tenants={"ads": replace(tenant, is_copied=is_copied)}))
    replay = desk.replay("digits", begun.number)
    assert replay is not None
    assert replay.report is not None
    assert (len(desk.reports[0].worst), len(replay.report.worst)) == (kept, kept)


def test_what_is_remembered_of_replays_is_bounded_and_what_runs_stays() -> None:
    desk = CopiesDesk()
    running(desk)
    first = desk.ask_replay("digits", "2")
    for _ in range(MOST_REPLAYS + 5):
        begun = desk.ask_replay("digits", "2")
        desk.heard(Replayed(ReplayReport(begun.number, "digits", "2", "done", "", 0, 0, 0, None)))
    known = [number for number in range(1, MOST_REPLAYS + 10) if desk.replay("digits", number) is not None]
    assert first.number in known
    assert len(known) <= MOST_REPLAYS + 1


def test_who_asks_for_samples_hears_of_them_once_or_that_the_process_has_ended() -> None:
    desk = CopiesDesk()
    heard: list[SamplesTold] = []
    with pytest.raises(CopiesAway):
        desk.ask_samples(AskSamples, heard.append)
    told = running(desk)
    numbers = [desk.ask_samples(AskSamples, heard.append) for _ in range(3)]
    assert told == [AskSamples(number) for number in numbers]
    desk.heard(SamplesTold(numbers[0], purged=1))
    desk.heard(SamplesTold(numbers[0], purged=2))
    desk.give_up(numbers[1])
    desk.detach()
    assert [(one.number, one.purged, bool(one.problem)) for one in heard] == [
        (numbers[0], 1, False),
        (numbers[2], 0, True),
    ]
