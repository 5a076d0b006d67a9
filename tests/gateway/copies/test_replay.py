"""Replays of recorded requests against pods that are made up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.copies.compare.answer import Answer
from gateway.copies.copied import Copied, NotSent, Why
from gateway.copies.messages import AskReplay
from gateway.copies.recordings import Recordings
from gateway.copies.replay import Replays
from gateway.copies.reports import ReplayReport, ShadowSays
from policies.snapshot.release import Compare, LeftOut, Privacy, Recording, Shadow, ShadowLimits, ShadowVerdict
from tests.gateway.copies.answered import AT_S, answer, answered, snapshot

VERDICT = ShadowVerdict(at_least=100)
SHADOW = Shadow("dark", "2", 1.0, outputs=(Compare("/label", "label"),), verdict=VERDICT)
SAME = b'{"label":7}'


class Pods:
    """Pods of every version (``gateway.copies.copied.Asks``)."""

    def __init__(self, say: Callable[[Copied], Awaitable[Answer | NotSent]] | None = None) -> None:
        self.asked: list[tuple[Copied, str, str]] = []
        self.running = self.most = self.away_after = self.away_looks = 0
        self._say = say
        self.busy_looks = 0

    def why_not(self, model: str, version: str, busy_share: float) -> Why | None:
        self.busy_looks -= 1
        if self.away_after and len(self.asked) >= self.away_after and self.away_looks:
            self.away_looks -= 1
            return Why.NO_POD
        return Why.BUSY if self.busy_looks >= 0 else None

    async def ask(self, copied: Copied, version: str, shadow: str, deadline_s: float) -> Answer | NotSent:
        self.asked.append((copied, version, shadow))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            return answer(SAME) if self._say is None else await self._say(copied)
        finally:
            self.running -= 1


class Room:
    """Recordings, pods and what was told of replays."""

    def __init__(self, folder: Path, pods: Pods, count: int = 200, shadows: tuple[Shadow, ...] = (SHADOW,)) -> None:
        self.told: list[ReplayReport] = []
        self.said: list[str] = []
        self.pods = pods
        self.recordings = Recordings(folder, self.said.append)
        self.news = asyncio.Event()
        self.replays = Replays(self.recordings, pods, self._hear, self.said.append)
        policy = snapshot(Recording(1.0), shadows=shadows)
        self.recordings.use(policy)
        self.replays.use(policy)
        for number in range(count):
            self.recordings.keep(answered(number), b'{"data":[%d]}' % number, answer(SAME), AT_S)

    def _hear(self, report: ReplayReport) -> None:
        self.told.append(report)
        self.news.set()

    async def over(self, number: int = 1) -> ReplayReport:
        """Wait for the end of a replay."""
        while True:
            for report in self.told:
                if report.number == number and report.state != "running":
                    return report
            self.news.clear()
            await self.news.wait()


def replayed(room: Room, asked: AskReplay) -> ReplayReport:
    async def story() -> ReplayReport:
        room.replays.ask(asked)
        return await room.over(asked.number)

    return asyncio.run(story())


def test_a_version_that_answers_as_recorded_is_the_same(tmp_path: Path) -> None:
    room = Room(tmp_path, Pods(), count=1500)
    report = replayed(room, AskReplay(1, "digits", "2", most=1400))
    assert (report.state, report.recorded, report.chosen, report.sent) == ("done", 1500, 1400, 1400)
    assert report.report is not None
    assert report.report.says is ShadowSays.SAME
    assert (report.report.compared, report.report.differ, report.report.repeats) == (1400, 0, 0)
    first, version, shadow = room.pods.asked[0]
    assert (first.request_id, first.body, version, shadow) == ("r100", b'{"data":[100]}', "2", "dark")
    assert first.target == "/predictions/digits"


def test_a_version_that_answers_otherwise_differs(tmp_path: Path) -> None:
    async def other(copied: Copied) -> Answer:
        return answer(b'{"label":8}')

    report = replayed(Room(tmp_path, Pods(other)), AskReplay(1, "digits", "2"))
    assert report.report is not None
    assert report.report.says is ShadowSays.DIFFERS
    assert report.report.version == "2"
    assert report.report.worst[0].trace_id


def test_so_many_are_under_way_as_the_shadow_may_have(tmp_path: Path) -> None:
    limited = Shadow("dark", "2", 1.0, limits=ShadowLimits(in_flight=3))
    room = Room(tmp_path, Pods(), shadows=(limited,))
    replayed(room, AskReplay(1, "digits", "2"))
    assert room.pods.most == 3


def test_while_pods_have_enough_to_do_nothing_is_sent_and_nothing_is_lost(tmp_path: Path) -> None:
    pods = Pods()
    pods.busy_looks = 3
    limited = replace(SHADOW, limits=ShadowLimits(in_flight=1))
    report = replayed(Room(tmp_path, pods, count=5, shadows=(limited,)), AskReplay(1, "digits", "2"))
    assert (report.state, report.sent, pods.busy_looks) == ("done", 5, -5)


def test_without_a_shadow_whole_answers_are_compared_four_at_a_time(tmp_path: Path) -> None:
    room = Room(tmp_path, Pods(), count=20, shadows=())
    report = replayed(room, AskReplay(1, "digits", "2"))
    assert room.pods.most == 4
    assert report.report is not None
    assert [(one.path, one.kind) for one in report.report.outputs] == [("", "json")]


def test_what_the_shadow_leaves_out_is_left_out_too(tmp_path: Path) -> None:
    strict = Shadow("dark", "2", 1.0, privacy=Privacy(("x-mail",), ("/data",)))
    room = Room(tmp_path, Pods(), count=3, shadows=(strict,))
    replayed(room, AskReplay(1, "digits", "2"))
    assert {copied.body for copied, _, _ in room.pods.asked} == {b"{}"}
    assert {name for copied, _, _ in room.pods.asked for name, _ in copied.fields} == {b"content-type"}


def test_whom_the_shadow_leaves_out_is_not_sent(tmp_path: Path) -> None:
    room = Room(tmp_path, Pods(), count=3, shadows=(replace(SHADOW, never=LeftOut(tenants=("shop",))),))
    room.recordings.keep(answered(3, tenant="shop"), b'{"data":"planted"}', answer(SAME), AT_S)
    report = replayed(room, AskReplay(1, "digits", "2")).report
    assert [copied.tenant for copied, _, _ in room.pods.asked] == ["ads"] * 3
    assert report is not None
    assert report.not_copied == {Why.NO_CONSENT: 1}


def test_a_replay_keeps_nothing_of_a_tenant_that_allows_no_copies_any_more(tmp_path: Path) -> None:
    async def other(copied: Copied) -> Answer:
        room.replays.use(denied)
        return answer(b'{"label":8}')

    shadow = replace(SHADOW, limits=ShadowLimits(in_flight=1))
    room = Room(tmp_path, Pods(other), count=3, shadows=(shadow,))
    denied = snapshot(Recording(1.0), shadows=(shadow,), consenting=())
    report = replayed(room, AskReplay(1, "digits", "2")).report
    assert len(room.pods.asked) == 1
    assert report is not None
    assert report.worst == ()
    assert report.not_copied == {Why.NO_CONSENT: 2}


@pytest.mark.parametrize(
    ("asked", "because"),
    [
        (AskReplay(1, "digits", "9"), "digits has no version 9; it has 1, 2"),
        (AskReplay(1, "digits", "2", "light"), "digits has no shadow light; it has dark"),
        (AskReplay(1, "letters", "2"), "no route is for a model letters"),
    ],
)
def test_a_replay_that_cannot_begin_says_why(tmp_path: Path, asked: AskReplay, because: str) -> None:
    report = replayed(Room(tmp_path, Pods()), asked)
    assert (report.state, report.because, report.report) == ("failed", because, None)


def test_without_recordings_it_says_so(tmp_path: Path) -> None:
    report = replayed(Room(tmp_path, Pods(), count=0), AskReplay(1, "digits", "2"))
    assert "there are no recorded requests of digits: it is recorded, and nothing came yet" in report.because


def test_one_replay_of_a_model_goes_on_at_a_time(tmp_path: Path) -> None:
    room = Room(tmp_path, Pods())

    async def story() -> tuple[ReplayReport, ReplayReport, ReplayReport]:
        room.replays.ask(AskReplay(1, "digits", "2"))
        room.replays.ask(AskReplay(2, "digits", "2"))
        refused, done = await room.over(2), await room.over(1)
        await asyncio.sleep(0)
        room.replays.ask(AskReplay(3, "digits", "2"))
        return refused, done, await room.over(3)

    refused, done, later = asyncio.run(story())
    assert (refused.state, done.state, later.state) == ("failed", "done", "done")
    assert "replay 1 of digits is not over" in refused.because


def test_without_a_ready_pod_it_ends_and_says_so(tmp_path: Path) -> None:
    async def none(_: Copied) -> NotSent:
        return NotSent(Why.NO_POD)

    report = replayed(Room(tmp_path, Pods(none)), AskReplay(1, "digits", "2"))
    assert (report.state, report.because, report.sent) == ("failed", "no pod of digits/2 is ready", 0)


def test_a_pod_that_is_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    pods = Pods()
    pods.away_after, pods.away_looks = 3, 2
    limited = replace(SHADOW, limits=ShadowLimits(in_flight=1))
    report = replayed(Room(tmp_path, pods, count=5, shadows=(limited,)), AskReplay(1, "digits", "2"))
    assert (report.state, report.sent, pods.away_looks) == ("done", 5, 0)


def test_what_a_pod_does_not_take_is_counted_and_the_others_go_on(tmp_path: Path) -> None:
    async def some(copied: Copied) -> Answer | NotSent:
        return NotSent(Why.REFUSED) if copied.request_id == "r5" else answer(SAME)

    report = replayed(Room(tmp_path, Pods(some), count=20), AskReplay(1, "digits", "2"))
    assert report.report is not None
    assert (report.state, report.sent, report.report.not_copied) == ("done", 19, {"refused": 1})


def test_what_was_removed_meanwhile_is_counted(tmp_path: Path) -> None:
    room = Room(tmp_path, Pods(), count=20, shadows=(Shadow("dark", "2", 1.0, limits=ShadowLimits(in_flight=1)),))

    async def forget(_: Copied) -> Answer:
        room.recordings.forget("digits")
        return answer(SAME)

    room.pods._say = forget
    report = replayed(room, AskReplay(1, "digits", "2"))
    assert report.report is not None
    assert (report.state, report.sent, report.report.not_copied) == ("done", 1, {"removed_meanwhile": 19})


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_replay_is_cancelled_at_once_and_says_how_far_it_came(tmp_path: Path, is_stopped: bool) -> None:
    full = asyncio.Event()

    async def hang(copied: Copied) -> Answer:
        if copied.request_id == "r0":
            return answer(SAME)
        if copied.request_id == "r16":
            full.set()
        await asyncio.Event().wait()
        raise AssertionError

    room = Room(tmp_path, Pods(hang))

    async def story() -> ReplayReport:
        room.replays.ask(AskReplay(1, "digits", "2"))
        await full.wait()
        room.replays.ask(AskReplay(9, "digits", "2", is_cancel=True))  # another one's
        if is_stopped:
            await room.replays.stop()
        else:
            room.replays.ask(AskReplay(1, "digits", "2", is_cancel=True))
        return await room.over()

    report = asyncio.run(story())
    assert (report.state, report.sent) == ("cancelled", 1)
    assert room.said == []


def test_a_defect_ends_it_and_is_said(tmp_path: Path) -> None:
    async def broken(_: Copied) -> Answer:
        raise ZeroDivisionError

    room = Room(tmp_path, Pods(broken))

    async def story() -> ReplayReport:
        room.replays.ask(AskReplay(1, "digits", "2"))
        report = await room.over()
        await asyncio.sleep(0)
        return report

    assert asyncio.run(story()).state == "failed"
    assert "replay 1 of digits broke off" in room.said[0]


def test_one_that_is_cancelled_before_it_sent_anything_is_over_too(tmp_path: Path) -> None:
    room = Room(tmp_path, Pods())

    async def story() -> ReplayReport:
        room.replays.ask(AskReplay(1, "digits", "2"))
        room.replays.ask(AskReplay(1, "digits", "2", is_cancel=True))
        return await room.over()

    assert (asyncio.run(story()).state, room.pods.asked) == ("cancelled", [])
