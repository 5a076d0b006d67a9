"""The keeper of rollouts: what it tells workers, what it keeps, and what it does when it is killed or overtaken."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.control.messages import ArmEvents, BadKey
from gateway.control.rollouts import gathering, store
from gateway.control.rollouts.store import FILE_NAME, RolloutStore, StoreUnavailable
from gateway.control.rollouts.view import rollout_report
from gateway.control.slo_kept import Series
from gateway.copies.messages import LabelEvent
from gateway.decide.rollouts.machine import Command, Order
from gateway.decide.rollouts.progress import RolloutState
from gateway.decide.rollouts.verdict import Says
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import CanaryStep, Capacity, Judge
from telemetry.slo.events import EventCount
from tests.gateway.control.rollouts.bench import CANARY, T0, Bench, snapshot

Story = Callable[[Bench], Coroutine[None, None, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Story], Bench]:
    """Play a story that begins with a canary's first share."""

    def run(story: Story) -> Bench:
        async def whole() -> Bench:
            bench = Bench(tmp_path)
            await bench.keeper.begin(snapshot())
            await bench.look()
            await story(bench)
            await bench.stop()
            return bench

        return asyncio.run(whole())

    return run


async def pass_step(bench: Bench, requests: int = 2000) -> None:
    """Let the step that the rollout is in have all that it asks for."""
    bench.trial(ArmEvents(requests), ArmEvents(requests))
    await bench.look(61.0)


def test_a_good_canary_is_promoted_and_every_step_is_kept_before_workers_are_told(
    play: Callable[[Story], Bench],
) -> None:
    async def story(bench: Bench) -> None:
        await pass_step(bench)
        assert bench.stage.share == 0.25
        await pass_step(bench)
        await bench.look()
        assert bench.progress.state is RolloutState.PROMOTED

    bench = play(story)
    shares = [stages[0].share for stages in bench.told]
    assert shares == [0.0, 0.0, 0.05, 0.25, 1.0, 1.0]
    assert [stages[0].revision for stages in bench.told] == bench.kept_when_told
    assert bench.told[-1][0].is_over
    actions = [record.action for record in bench.records()]
    assert actions == ["canary.begin", "canary.share", "canary.advance", "canary.advance", "canary.promote"]
    advanced = bench.records()[2]
    assert (advanced.actor, advanced.subject) == ("gateway", "rollout/digits/first")
    assert advanced.detail["verdict"]["candidate"]["requests"] == 2000
    assert (advanced.detail["from"]["share"], advanced.detail["to"]["share"]) == (0.05, 0.25)
    assert any("goes to 25% (step 2 of 3)" in line for line in bench.said)


def test_harm_rolls_back_with_its_evidence(play: Callable[[Story], Bench]) -> None:
    async def story(bench: Bench) -> None:
        bench.breaks(40)
        await bench.look()
        assert (bench.progress.state, bench.stage.share) == (RolloutState.ROLLED_BACK, 0.0)

    bench = play(story)
    record = bench.records()[-1]
    assert (record.action, record.detail["verdict"]["says"]) == ("canary.rollback", "harm")
    assert record.detail["verdict"]["candidate"]["bad_keys"] == 40
    assert any("is rolled back: Harm" in line for line in bench.said)


def test_a_key_counts_once_whichever_worker_tells_of_it_and_passed_stages_say_nothing(
    play: Callable[[Story], Bench],
) -> None:
    async def story(bench: Bench) -> None:
        first = bench.stage
        bench.breaks(3, in_canary=False)
        bench.breaks(4, start=2, in_canary=False)
        assert bench.rollout.gathering.evidence.stable.seen.bad_keys == 6
        assert bench.rollout.gathering.evidence.stable.seen.bad == 7
        await pass_step(bench)
        assert bench.progress.step == 1
        bench.trial(canary=ArmEvents(9, 9), keys=(BadKey(77, True, ""),), stage=first)
        bench.trial(canary=ArmEvents(9, 9), stage=replace(bench.stage, canary="another"))
        bench.trial(canary=ArmEvents(9, 9), stage=replace(bench.stage, revision=bench.stage.revision + 1))
        assert bench.rollout.gathering.evidence.canary.seen.requests == 0

    play(story)


def test_keys_beyond_the_bound_are_no_evidence_and_are_counted(
    play: Callable[[Story], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MAX_SUBJECTS", 5)

    async def story(bench: Bench) -> None:
        bench.breaks(8)
        assert bench.rollout.gathering.evidence.canary.seen.bad_keys == 5
        assert bench.rollout.gathering.untold == 3
        await bench.look()
        await bench.look()

    bench = play(story)
    assert sum("more keys are bad in this step than are told apart" in line for line in bench.said) == 1


def test_the_next_supervisor_tells_the_same_before_anything_else_and_counts_no_key_twice(tmp_path: Path) -> None:
    async def whole() -> None:
        first = Bench(tmp_path)
        await first.keeper.begin(snapshot())
        await first.look()
        first.breaks(5, in_canary=False)
        await first.look()
        # Killed here: nothing is closed.
        second = Bench(tmp_path, first.now_s + 8000.0)
        await second.keeper.begin(snapshot())
        assert second.told == [first.told[-1]]
        assert second.progress == first.progress
        second.breaks(6, in_canary=False)
        seen = second.rollout.gathering.evidence.stable.seen
        assert (seen.bad_keys, len(seen.examples)) == (6, 5)
        assert list(second.rollout.transitions) == list(first.rollout.transitions)
        await second.look()
        assert second.progress.state is not RolloutState.PAUSED  # hours in which nobody looked are no silence
        await second.stop()
        await first.stop()

    asyncio.run(whole())


def test_evidence_that_was_being_kept_when_the_watch_ended_is_kept_at_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_asked, goes_on, gather = threading.Event(), threading.Event(), RolloutStore.gather

    def full_disk(*about: Any) -> None:
        monkeypatch.setattr(RolloutStore, "gather", gather)
        is_asked.set()
        assert goes_on.wait(10.0)
        raise StoreUnavailable("the disk is full")

    async def whole() -> None:
        first = Bench(tmp_path)
        await first.keeper.begin(snapshot())
        await first.look()
        first.breaks(5, in_canary=False)
        monkeypatch.setattr(RolloutStore, "gather", full_disk)
        looking = asyncio.create_task(first.look())
        await asyncio.to_thread(is_asked.wait)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        goes_on.set()
        await first.stop()
        second = Bench(tmp_path, first.now_s)
        await second.keeper.begin(snapshot())
        assert second.rollout.gathering.evidence.stable.seen.bad_keys == 5
        await second.stop()

    asyncio.run(whole())


def test_a_second_supervisor_that_is_overtaken_changes_nothing_and_takes_up_what_holds(tmp_path: Path) -> None:
    async def whole() -> None:
        one, other = Bench(tmp_path), Bench(tmp_path)
        await one.keeper.begin(snapshot())
        await other.keeper.begin(snapshot())
        await one.look()
        await other.look()  # it knows of revision 1, and wants to make the second
        assert one.kept_revision() == 2
        assert any("somebody else writes" in line for line in other.said)
        await other.look()
        assert other.progress == one.progress
        await one.stop()
        await other.stop()

    asyncio.run(whole())


def test_while_the_store_cannot_be_written_no_share_rises_but_harm_takes_it_back(
    play: Callable[[Story], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BUSY_WITHIN_S", 0.01)

    async def story(bench: Bench) -> None:
        blocker = sqlite3.connect(bench.state / FILE_NAME, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        await pass_step(bench)
        assert (bench.progress.step, bench.stage.share) == (0, 0.05)
        with pytest.raises(StoreUnavailable):
            await bench.keeper.order(bench.rollout, Order(Command.PROMOTE, "local", "now"))
        bench.breaks(60)
        await bench.look()
        assert (bench.progress.state, bench.stage.share) == (RolloutState.ROLLED_BACK, 0.0)
        assert bench.kept_revision() == 2
        blocker.execute("ROLLBACK")
        blocker.close()
        await bench.look()
        assert bench.kept_revision() == bench.progress.revision
        assert sum("cannot be used" in line for line in bench.said) == 1
        assert sum("can be used again" in line for line in bench.said) == 1

    play(story)


def test_harm_is_looked_for_while_another_change_waits_to_be_kept(
    play: Callable[[Story], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BUSY_WITHIN_S", 0.01)

    async def story(bench: Bench) -> None:
        blocker = sqlite3.connect(bench.state / FILE_NAME, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        edited = replace(CANARY, steps=(CANARY.steps[0], replace(CANARY.steps[1], share=0.3), CANARY.steps[2]))
        bench.keeper.follow(snapshot(edited, 2))
        await bench.look()
        bench.breaks(60)
        await bench.look()
        assert (bench.progress.state, bench.stage.share) == (RolloutState.ROLLED_BACK, 0.0)
        blocker.execute("ROLLBACK")
        blocker.close()
        await bench.look()
        assert bench.kept_revision() == bench.progress.revision
        again = Bench(bench.state, bench.now_s)
        await again.keeper.begin(snapshot(edited, 2))
        assert list(again.rollout.transitions) == list(bench.rollout.transitions)
        await again.stop()

    play(story)


def test_a_person_takes_a_share_back_while_that_cannot_be_kept(
    play: Callable[[Story], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_BUSY_WITHIN_S", 0.01)

    async def story(bench: Bench) -> None:
        blocker = sqlite3.connect(bench.state / FILE_NAME, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        await bench.keeper.order(bench.rollout, Order(Command.ROLLBACK, "key:kim", "wrong on sevens"))
        assert (bench.progress.state, bench.stage.share) == (RolloutState.ROLLED_BACK, 0.0)
        assert bench.kept_revision() == 2
        blocker.execute("ROLLBACK")
        blocker.close()
        await bench.look()
        assert bench.kept_revision() == bench.progress.revision

    play(story)


def test_orders_are_kept_and_say_who_gave_them(play: Callable[[Story], Bench]) -> None:
    async def story(bench: Bench) -> None:
        await bench.keeper.order(bench.rollout, Order(Command.PAUSE, "key:kim", "a look first"))
        assert (bench.progress.state, bench.kept_revision()) == (RolloutState.PAUSED, 3)
        await bench.look(600.0)
        assert bench.progress.state is RolloutState.PAUSED
        await bench.keeper.order(bench.rollout, Order(Command.RESUME, "key:kim", "all is well"))
        await bench.keeper.order(bench.rollout, Order(Command.PROMOTE, "key:lee", "in a hurry"))
        assert (bench.progress.step, bench.stage.share, bench.progress.by) == (1, 0.25, "key:lee")

    bench = play(story)
    assert [one.by for one in bench.rollout.transitions][-3:] == ["key:kim", "key:kim", "key:lee"]


def test_another_generation_is_followed_and_a_canary_that_is_gone_is_forgotten(play: Callable[[Story], Bench]) -> None:
    async def story(bench: Bench) -> None:
        bench.keeper.follow(snapshot(replace(CANARY, id="second"), 2))
        await bench.look()
        assert (bench.progress.canary, bench.progress.step, bench.keeper.generation) == ("second", 0, 2)
        revision = bench.progress.revision
        bench.keeper.follow(snapshot(None, 3))
        await bench.look()
        assert bench.keeper.rollouts == {}
        assert bench.told[-1] == ()
        bench.keeper.follow(snapshot(replace(CANARY, id="second"), 4))
        await bench.look()
        assert bench.told[-2][0].revision == revision + 1
        assert bench.told[-2][0].share == 0.0

    bench = play(story)
    assert "canary.end" in [record.action for record in bench.records()]
    assert any("in the policy no more" in line for line in bench.said)


def test_who_looks_while_an_edit_is_kept_sees_what_was_before(
    play: Callable[[Story], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(bench: Bench) -> None:
        await pass_step(bench)
        assert bench.progress.step == 1
        is_kept, move = threading.Event(), RolloutStore.move

        def slow(*about: Any) -> None:
            assert is_kept.wait(10.0)
            move(*about)

        monkeypatch.setattr(RolloutStore, "move", slow)
        bench.keeper.follow(snapshot(replace(CANARY, steps=(CanaryStep(0.5),)), 2))
        looking = asyncio.create_task(bench.keeper.look())
        await asyncio.sleep(0)
        for _ in range(10):
            assert len(rollout_report(bench.rollout, 1, bench.now_s).steps) == 3
            await asyncio.sleep(0)
        is_kept.set()
        await looking
        assert len(rollout_report(bench.rollout, 2, bench.now_s).steps) == 1
        assert bench.progress.step == 0

    play(story)


def test_a_canary_that_left_while_nobody_ran_is_forgotten_at_the_start(tmp_path: Path) -> None:
    async def whole() -> None:
        for canary, share in ((CANARY, 0.05), (None, None), (CANARY, 0.0)):
            bench = Bench(tmp_path)
            await bench.keeper.begin(snapshot(canary))
            if canary is None:
                assert bench.told == [(), ()]
            elif share:
                await bench.look()
                assert bench.stage.share == share
            else:
                assert (bench.stage.share, bench.stage.step) == (0.0, 0)
            await bench.stop()

    asyncio.run(whole())


def test_another_question_is_judged_by_evidence_of_its_own(play: Callable[[Story], Bench]) -> None:
    async def story(bench: Bench) -> None:
        bench.breaks(2, in_canary=False)
        await bench.look()
        bench.keeper.follow(snapshot(replace(CANARY, judge=Judge("1", harmful_above=2.0)), 2))
        await bench.look()
        assert bench.rollout.gathering.evidence.stable.seen.bad_keys == 0
        bench.breaks(1, start=1, in_canary=False)
        await bench.look()
        again = Bench(bench.state, bench.now_s)
        await again.keeper.begin(snapshot(replace(CANARY, judge=Judge("1", harmful_above=2.0)), 2))
        assert again.rollout.gathering.evidence.stable.seen.bad_keys == 1
        await again.stop()

    play(story)


def test_keys_that_were_bad_before_the_canary_had_a_share_still_count_for_it(play: Callable[[Story], Bench]) -> None:
    async def story(bench: Bench) -> None:
        before = replace(bench.stage, share=0.0)
        bad = tuple(BadKey(subject, False, "") for subject in range(400))
        bench.trial(stable=ArmEvents(400, 400), keys=bad, stage=before)
        assert bench.rollout.gathering.evidence.stable.seen.bad_keys == 0
        bench.breaks(40)
        assert bench.rollout.gathering.evidence.canary.seen.bad_keys == 40
        await bench.look()
        assert bench.progress.state is RolloutState.ROLLED_BACK

    play(story)


def test_wrong_labels_are_bad_keys_where_policy_judges_by_them(play: Callable[[Story], Bench]) -> None:
    async def story(bench: Bench) -> None:
        def label(subject: int, version: str, *, is_right: bool) -> LabelEvent:
            return LabelEvent("digits", version, "canary", "gold", T0, is_right, "t" * 32, bench.stage, subject)

        bench.keeper.labelled([label(n, "2", is_right=False) for n in range(30)] + [label(99, "2", is_right=True)])
        bench.keeper.labelled([label(1, "2", is_right=False), label(50, "1", is_right=False)])
        seen = bench.rollout.gathering.evidence
        assert (seen.canary.seen.wrong_labels, seen.canary.seen.bad_keys, seen.stable.seen.wrong_labels) == (30, 30, 1)
        await bench.look()
        assert bench.progress.state is RolloutState.ROLLED_BACK

    play(story)


def test_keys_with_wrong_labels_before_the_canary_had_a_share_still_count_for_it(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path)
        bench.ready["2"] = 0

        def wrong(subject: int, version: str, arm: str) -> LabelEvent:
            return LabelEvent("digits", version, arm, "gold", T0, False, "t" * 32, bench.stage, subject)

        await bench.keeper.begin(snapshot())
        await bench.look()
        assert bench.stage.share == 0.0
        bench.keeper.labelled([wrong(n, "1", "stable") for n in range(400)])
        bench.ready["2"] = 2
        await bench.look()
        assert bench.stage.share == 0.05
        bench.keeper.labelled([wrong(n, "2", "canary") for n in range(30)])
        await bench.look()
        assert bench.progress.state is RolloutState.ROLLED_BACK
        await bench.stop()

    asyncio.run(whole())


def test_room_is_measured_by_what_requests_cost_and_by_the_busiest_minute(tmp_path: Path) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path)
        canary = replace(CANARY, capacity=Capacity(room=1.3))
        await bench.keeper.begin(snapshot(canary))
        bench.answered("1", 6000)  # 100/s in its minute
        await bench.look()
        assert bench.stage.share == 0.01
        bench.answered("2", 20, device_us=100_000)  # two pods answer 20/s: room for 5 %, and not for 25 %
        await bench.look()
        assert bench.stage.share == 0.05
        bench.trial(canary=ArmEvents(2000))
        await bench.look(61.0)
        assert [wait.value for wait in bench.progress.waits] == ["capacity"]
        sight = bench.rollout.sight
        assert sight is not None
        assert (sight.busiest_per_s, sight.candidate.device_s_each) == (6020 / 60, 0.1)
        await bench.stop()
        again = Bench(tmp_path, bench.now_s)  # what was measured outlives a supervisor
        await again.keeper.begin(snapshot(canary))
        await again.look()
        assert again.rollout.sight is not None
        assert again.rollout.sight.busiest_per_s == 6020 / 60
        await again.stop()

    asyncio.run(whole())


def test_a_clock_that_leaps_forward_is_no_time_without_traffic(play: Callable[[Story], Bench]) -> None:
    async def story(bench: Bench) -> None:
        bench.trial(canary=ArmEvents(1))
        await bench.look()
        await bench.look(100_000.0)
        assert bench.rollout.sight is not None
        assert bench.rollout.sight.verdict is not None
        assert bench.rollout.sight.verdict.says is Says.NO_TRAFFIC
        assert bench.progress.state.value != "paused"
        for _ in range(121):
            await bench.look(60.0)
        assert bench.progress.state is RolloutState.PAUSED

    play(story)


BURNED = Series("digits-availability", "digits", "2", "gold")


def policy_that_looks_at_burn() -> Snapshot:
    """Return a policy whose canary is rolled back for the budget that it burns."""
    whole = snapshot(replace(CANARY, judge=Judge("1", burn_above=6.0)))
    objectives = {name: replace(one, by=("version",)) for name, one in whole.objectives.items()}
    return replace(whole, objectives=objectives)


async def burn(bench: Bench, seconds: int) -> None:
    """Let the canary fail each of its requests."""
    for _ in range(seconds):
        bench.counts.add(BURNED, int(bench.now_s), EventCount(0, 10, 0), bench.now_s)
        await bench.look()


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_canary_that_burns_its_budget_goes_back_though_the_clock_was_set_back(
    tmp_path: Path, is_restarted: bool
) -> None:
    async def whole() -> None:
        bench = Bench(tmp_path)
        await bench.keeper.begin(policy_that_looks_at_burn())
        await bench.look()
        if is_restarted:
            await bench.stop()
            bench = Bench(tmp_path, bench.now_s - 7200.0)
            await bench.keeper.begin(policy_that_looks_at_burn())
        else:
            bench.now_s -= 7200.0
        await bench.look()
        await burn(bench, 60)
        assert bench.progress.state is RolloutState.ROLLED_BACK
        assert bench.progress.changed_s < T0
        await bench.stop()

    asyncio.run(whole())


def test_a_step_is_held_no_longer_than_policy_says_when_the_clock_is_set_back(
    play: Callable[[Story], Bench],
) -> None:
    async def story(bench: Bench) -> None:
        bench.trial(ArmEvents(2000), ArmEvents(2000))
        await bench.look(-7200.0)
        await bench.look(59.0)
        assert bench.progress.step == 0
        await bench.look(2.0)
        assert bench.progress.step == 1
        for _ in range(125):
            await bench.look(59.0)
        assert bench.progress.state is RolloutState.PAUSED  # nobody asks it any more

    play(story)


def test_a_damaged_file_is_set_aside_and_canaries_begin_anew(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, and has never been one" * 100)

    async def whole() -> None:
        bench = Bench(tmp_path)
        await bench.keeper.begin(snapshot())
        assert bench.progress.revision == 1
        assert any("is damaged" in line for line in bench.said)
        await bench.stop()

    asyncio.run(whole())
