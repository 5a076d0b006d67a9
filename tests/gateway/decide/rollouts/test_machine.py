"""The state machine of a rollout, by its facts alone; a machine of hypothesis looks for ways around its laws."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from gateway.decide.rollouts.machine import (
    TRICKLE_S,
    Command,
    MakesNoSense,
    Order,
    advance,
    follow,
    obey,
    what_lacks,
)
from gateway.decide.rollouts.progress import (
    JUDGE,
    POLICY,
    Progress,
    RolloutState,
    Sight,
    VersionSeen,
    Wait,
    is_of_this_step,
    stage_of,
)
from gateway.decide.rollouts.verdict import ArmSeen, Says, Verdict
from policies.snapshot.release import Canary, CanaryStep, Capacity, Judge
from policies.snapshot.route import Route, Version

T0 = 1_782_907_200.0
STEPS = (CanaryStep(0.05, hold_s=120.0, at_least=200), CanaryStep(0.25, hold_s=300.0, at_least=500), CanaryStep(1.0))
CANARY = Canary("first", "2", STEPS, Judge("1"))
PODS = VersionSeen(ready_pods=2, requests=500, device_s_each=0.01)
SIGHT = Sight(None, 0, PODS, PODS, rate_per_s=50.0, busiest_per_s=80.0, owner="vision-team")
RUNNING, WAITING, PAUSED = RolloutState.RUNNING, RolloutState.WAITING, RolloutState.PAUSED
PROMOTED, ROLLED_BACK = RolloutState.PROMOTED, RolloutState.ROLLED_BACK


def route(canary: Canary | None = CANARY, stable: str = "1") -> Route:
    return Route("digits", "vision-team", {name: Version(name) for name in "123"}, stable, canary=canary)


def begun(canary: Canary = CANARY) -> Progress:
    progress = follow(None, route(canary), T0)
    assert progress is not None
    return progress


def saying(says: Says, progress: Progress, requests: int = 1000, **more: object) -> Sight:
    """What is seen when the judge says this of the step that the rollout is in."""
    arms = ArmSeen("1", 9000), ArmSeen("2", requests)
    verdict = Verdict(
        "digits", progress.canary, 1, progress.step, progress.share, T0, says, f"{says}.", *arms, 1, 1, 1, 300, None
    )
    return msgspec.structs.replace(SIGHT, verdict=verdict, requests=requests, **more)


def at_step(step: int, canary: Canary = CANARY) -> Progress:
    """A rollout that has just begun a step, and had no need to wait for anything."""
    progress, now_s = advance(begun(canary), canary, SIGHT, T0), T0
    while progress.step < step:
        now_s += 3600.0
        progress = advance(progress, canary, saying(Says.SAFE, progress), now_s)
    return progress


def later(progress: Progress, after_s: float = 3600.0) -> float:
    return progress.moved_s + after_s


def order(command: Command, reason: str = "as agreed") -> Order:
    return Order(command, "key:kim", reason)


# --- a rollout that goes well


def test_a_canary_gets_its_first_share_when_it_begins() -> None:
    progress = begun()
    assert (progress.state, progress.step, progress.share, progress.revision, progress.by) == (RUNNING, 0, 0, 1, POLICY)
    raised = advance(progress, CANARY, SIGHT, T0 + 1)
    assert (raised.state, raised.share, raised.revision, raised.by) == (RUNNING, 0.05, 2, JUDGE)
    assert stage_of(raised).share == 0.05


def test_a_small_step_needs_its_time_its_requests_and_no_harm() -> None:
    progress = at_step(0)
    full = saying(Says.UNDECIDED, progress)
    assert advance(progress, CANARY, full, progress.moved_s + 119) is progress
    waiting = advance(progress, CANARY, saying(Says.UNDECIDED, progress, requests=199), progress.moved_s + 120)
    assert (waiting.state, waiting.waits) == (WAITING, (Wait.TRAFFIC,))
    gone_on = advance(waiting, CANARY, full, progress.moved_s + 121)
    assert (gone_on.state, gone_on.step, gone_on.share, gone_on.waits) == (RUNNING, 1, 0.25, ())
    assert gone_on.began_revision == gone_on.revision == waiting.revision + 1


def test_from_a_quarter_on_a_step_needs_the_proof_that_it_is_safe() -> None:
    progress = at_step(1)
    assert advance(progress, CANARY, saying(Says.UNDECIDED, progress), later(progress)) is progress
    undecided = saying(Says.UNDECIDED, progress)
    assert what_lacks(progress, CANARY, undecided, later(progress)) == (Wait.VERDICT,)
    assert advance(progress, CANARY, saying(Says.SAFE, progress), later(progress)).step == 2


def test_a_step_without_any_request_is_no_pass() -> None:
    canary = Canary("first", "2", (CanaryStep(0.05), CanaryStep(1.0)), Judge("1"))
    progress = at_step(0, canary)
    assert advance(progress, canary, saying(Says.UNDECIDED, progress, requests=0), later(progress)).step == 0
    assert advance(progress, canary, saying(Says.UNDECIDED, progress, requests=1), later(progress)).step == 1


def test_after_the_whole_share_it_is_promoted_and_over() -> None:
    progress = at_step(2)
    promoted = advance(progress, CANARY, saying(Says.UNDECIDED, progress), progress.moved_s + 1)
    assert (promoted.state, promoted.share, promoted.is_settled) == (PROMOTED, 1.0, True)
    assert stage_of(promoted).is_over
    assert advance(promoted, CANARY, saying(Says.HARM, promoted), later(promoted)) is promoted


def test_a_verdict_on_another_step_says_nothing() -> None:
    progress = at_step(1)
    stale = replace(saying(Says.HARM, progress), verdict=saying(Says.HARM, at_step(0)).verdict)
    assert advance(progress, CANARY, stale, later(progress)).state is RUNNING


# --- harm


@pytest.mark.parametrize("state", ["running", "waiting", "paused", "promoted"])
def test_harm_is_looked_for_in_every_state_and_rolls_back(state: str) -> None:
    canary = replace(CANARY, capacity=Capacity(keep_stable_s=1800.0))
    progress = at_step(2 if state == "promoted" else 1, canary)
    if state == "waiting":
        short = saying(Says.SAFE, progress, requests=1)
        progress = advance(progress, canary, short, later(progress))
    if state == "paused":
        progress = obey(progress, order(Command.PAUSE), SIGHT, later(progress))
    if state == "promoted":
        progress = advance(progress, canary, saying(Says.UNDECIDED, progress), later(progress))
    assert progress.state.value == state
    gone = advance(progress, canary, saying(Says.HARM, progress), progress.changed_s + 1)
    assert (gone.state, gone.share, gone.by, gone.because) == (ROLLED_BACK, 0.0, JUDGE, "harm.")
    assert stage_of(gone).is_over


def test_after_a_promotion_harm_counts_for_as_long_as_stable_is_kept() -> None:
    canary = replace(CANARY, capacity=Capacity(keep_stable_s=1800.0))
    progress = at_step(2, canary)
    promoted = advance(progress, canary, saying(Says.UNDECIDED, progress), later(progress))
    assert not promoted.is_settled
    assert advance(promoted, canary, SIGHT, promoted.changed_s + 1799) is promoted
    settled = advance(promoted, canary, SIGHT, promoted.changed_s + 1800)
    assert settled.is_settled
    assert settled.state is PROMOTED
    # Nobody looked for a while, or the clock has leapt: what came meanwhile is not known.
    resumed = replace(SIGHT, since_s=promoted.changed_s + 3600)
    assert advance(promoted, canary, resumed, resumed.since_s + 1799) is promoted
    assert advance(promoted, canary, resumed, resumed.since_s + 1800).is_settled


def test_harm_pauses_where_policy_says_so_and_whoever_resumes_begins_its_evidence_anew() -> None:
    canary = replace(CANARY, on_harm="pause")
    progress = at_step(1, canary)
    paused = advance(progress, canary, saying(Says.HARM, progress), later(progress))
    assert (paused.state, paused.share, paused.is_harmed) == (PAUSED, 0.25, True)
    assert advance(paused, canary, saying(Says.HARM, paused), later(paused)) is paused
    resumed = obey(paused, order(Command.RESUME), SIGHT, paused.changed_s + 60)
    assert (resumed.state, resumed.began_revision, resumed.is_harmed) == (RUNNING, resumed.revision, False)
    assert not is_of_this_step(resumed, stage_of(paused))
    assert is_of_this_step(resumed, stage_of(resumed))


def test_a_rollback_gives_stable_only_what_its_ready_pods_can_take() -> None:
    progress = at_step(2)  # all of it
    busy = VersionSeen(ready_pods=1, requests=500, device_s_each=0.011)  # 100/s with the slack of a tenth
    gone = advance(progress, CANARY, saying(Says.HARM, progress, stable=busy, rate_per_s=400.0), later(progress))
    assert (gone.state, round(gone.share, 6), gone.waits) == (ROLLED_BACK, 0.75, (Wait.PODS,))
    more = replace(SIGHT, stable=replace(busy, ready_pods=3), rate_per_s=400.0)
    fallen = advance(gone, CANARY, more, later(gone))
    assert round(fallen.share, 6) == 0.25
    assert "3 that are can take 75" in fallen.because
    worse = replace(SIGHT, stable=busy, rate_per_s=400.0)
    assert advance(fallen, CANARY, worse, later(fallen)).share == fallen.share  # what left does not come back
    done = advance(fallen, CANARY, SIGHT, later(fallen))
    assert (done.share, done.waits) == (0.0, ())


def test_a_small_share_goes_back_at_once_whatever_requests_cost_in_quieter_minutes() -> None:
    dear = VersionSeen(ready_pods=2, requests=500, device_s_each=0.02)  # of batches of one; now 400/s fill them
    small = at_step(0)
    burst = replace(saying(Says.HARM, small, stable=dear), rate_per_s=400.0, busiest_per_s=400.0)
    back = advance(small, CANARY, burst, later(small, 10.0))
    assert (back.state, back.share, back.waits) == (ROLLED_BACK, 0.0, ())


def test_without_a_ready_pod_of_stable_the_share_stays_and_says_so() -> None:
    progress = at_step(1)
    none = VersionSeen(0, 500, 0.01)
    gone = advance(progress, CANARY, saying(Says.HARM, progress, stable=none), later(progress))
    assert (gone.state, gone.share, gone.waits) == (ROLLED_BACK, 0.25, (Wait.PODS,))
    by_hand = obey(progress, order(Command.ROLLBACK), replace(SIGHT, stable=none), later(progress))
    assert (by_hand.share, by_hand.by, by_hand.because) == (0.25, "key:kim", "as agreed")


# --- no traffic, approvals, shadows


def test_no_traffic_pauses_and_names_the_owner_and_counts_anew_after_a_resume() -> None:
    progress = at_step(0)
    paused = advance(progress, CANARY, saying(Says.NO_TRAFFIC, progress, requests=0), progress.began_s + 7200)
    assert (paused.state, paused.share) == (PAUSED, 0.05)
    assert "vision-team" in paused.because
    resumed = obey(paused, order(Command.RESUME), SIGHT, paused.changed_s + 600)
    quiet = saying(Says.NO_TRAFFIC, resumed, requests=0)
    assert advance(resumed, CANARY, quiet, resumed.changed_s + 7199).state is not PAUSED
    assert advance(resumed, CANARY, quiet, resumed.changed_s + 7200).state is PAUSED


def test_time_in_which_nobody_looked_is_no_time_without_traffic() -> None:
    progress = at_step(0)
    now_s = progress.began_s + 90_000
    quiet = saying(Says.NO_TRAFFIC, progress, requests=0, since_s=now_s - 1)
    assert advance(progress, CANARY, quiet, now_s).state is not PAUSED


def test_approval_ends_a_step_once_the_rest_is_there() -> None:
    steps = (replace(STEPS[0], needs_approval=True), *STEPS[1:])
    canary = replace(CANARY, steps=steps)
    progress = at_step(0, canary)
    waiting = advance(progress, canary, saying(Says.UNDECIDED, progress), later(progress))
    assert (waiting.state, waiting.waits) == (WAITING, (Wait.APPROVAL,))
    approved = obey(waiting, order(Command.PROMOTE), SIGHT, later(waiting))
    gone_on = advance(approved, canary, saying(Says.UNDECIDED, approved), later(waiting))
    assert (gone_on.step, gone_on.by, gone_on.is_approved, gone_on.promoter) == (1, "key:kim", False, "")


def test_a_canary_without_a_judge_waits_for_a_person_and_does_nothing_about_harm() -> None:
    canary = replace(CANARY, is_judged=False)
    progress = at_step(0, canary)
    waiting = advance(progress, canary, saying(Says.HARM, progress), later(progress))
    assert (waiting.state, waiting.waits) == (WAITING, (Wait.APPROVAL,))


def test_a_passed_step_waits_for_a_person_where_policy_says_so() -> None:
    canary = replace(CANARY, on_pass="pause")
    progress = at_step(0, canary)
    assert advance(progress, canary, saying(Says.SAFE, progress), later(progress)).waits == (Wait.APPROVAL,)


def test_a_last_step_below_the_whole_share_waits_to_be_promoted() -> None:
    canary = replace(CANARY, steps=STEPS[:2])
    progress = at_step(1, canary)
    waiting = advance(progress, canary, saying(Says.SAFE, progress), later(progress))
    assert waiting.waits == (Wait.APPROVAL,)
    approved = obey(waiting, order(Command.PROMOTE), SIGHT, later(waiting))
    promoted = advance(approved, canary, saying(Says.SAFE, approved), later(waiting))
    assert (promoted.state, promoted.share, promoted.step, promoted.by) == (PROMOTED, 1.0, 1, "key:kim")


def test_a_step_that_requires_a_shadow_waits_until_it_is_called_the_same() -> None:
    canary = replace(CANARY, steps=(replace(STEPS[0], requires_shadow="dark"), *STEPS[1:]))
    progress = at_step(0, canary)
    seen = saying(Says.UNDECIDED, progress)
    waiting = advance(progress, canary, seen, later(progress))
    assert waiting.waits == (Wait.SHADOW,)
    same = replace(seen, same_shadows=frozenset({"dark"}))
    assert advance(waiting, canary, same, later(waiting)).step == 1


# --- people


def test_orders_that_make_no_sense_change_nothing_and_say_what_does() -> None:
    progress = at_step(0)
    paused = obey(progress, order(Command.PAUSE), SIGHT, T0)
    gone = obey(progress, order(Command.ROLLBACK), SIGHT, T0)
    at_end = at_step(2)
    promoted = advance(at_end, CANARY, saying(Says.SAFE, at_end), later(at_end))
    for standing, command in (
        (progress, Command.RESUME),
        (paused, Command.PAUSE),
        (paused, Command.PROMOTE),
        (gone, Command.ROLLBACK),
        (gone, Command.PROMOTE),
        (gone, Command.RESUME),
        (promoted, Command.PROMOTE_TO_END),
        (promoted, Command.PAUSE),
        (begun(), Command.PROMOTE),
    ):
        with pytest.raises(MakesNoSense):
            obey(standing, order(command), SIGHT, T0)
    assert obey(promoted, order(Command.ROLLBACK), SIGHT, T0).state is ROLLED_BACK


def test_promote_goes_to_the_next_step_whatever_this_one_lacks() -> None:
    progress = at_step(0)
    passed = obey(progress, order(Command.PROMOTE), SIGHT, progress.moved_s + 1)
    gone_on = advance(passed, CANARY, saying(Says.UNDECIDED, passed, requests=0), progress.moved_s + 1)
    assert (gone_on.step, gone_on.is_passed, gone_on.by, gone_on.skipped) == (1, False, "key:kim", (0,))
    assert gone_on.because == "promoted by key:kim without its time, its requests: as agreed"
    assert advance(gone_on, CANARY, saying(Says.UNDECIDED, gone_on), later(gone_on)).step == 1


def test_two_who_promote_the_same_step_take_it_one_step_further() -> None:
    meant = replace(order(Command.PROMOTE), from_step=0)
    progress = at_step(0)
    passed = obey(progress, meant, SIGHT, progress.moved_s + 1)
    gone_on = advance(passed, CANARY, saying(Says.UNDECIDED, passed, requests=0), progress.moved_s + 1)
    with pytest.raises(MakesNoSense, match=r"^It is not at that step any more, but at 25%: promoted by key:kim"):
        obey(gone_on, meant, SIGHT, progress.moved_s + 2)
    assert obey(gone_on, replace(meant, from_step=1), SIGHT, progress.moved_s + 2).is_passed


def test_promote_to_the_end_gives_the_whole_share_once_there_is_room() -> None:
    canary = replace(CANARY, capacity=Capacity(ready_pods_at_least=3))
    progress = replace(at_step(0), because="")
    to_end = obey(progress, order(Command.PROMOTE_TO_END), SIGHT, T0 + 5)
    waiting = advance(to_end, canary, saying(Says.UNDECIDED, to_end), T0 + 5)
    assert (waiting.state, waiting.waits, waiting.share) == (WAITING, (Wait.CAPACITY,), 0.05)
    roomy = replace(SIGHT, candidate=replace(PODS, ready_pods=3))
    promoted = advance(waiting, canary, roomy, T0 + 6)
    assert (promoted.state, promoted.share, promoted.step, promoted.by) == (PROMOTED, 1.0, 2, "key:kim")
    assert promoted.skipped == (0, 1)
    assert promoted.because == "promoted to the end by key:kim without its time, its requests, a verdict: as agreed"


# --- room


def test_no_share_rises_to_a_version_without_a_ready_pod() -> None:
    none = replace(SIGHT, candidate=VersionSeen(0))
    waiting = advance(begun(), CANARY, none, T0)
    assert (waiting.state, waiting.waits, waiting.share) == (WAITING, (Wait.PODS,), 0.0)
    assert advance(waiting, CANARY, none, T0 + 1) is waiting
    assert advance(waiting, CANARY, SIGHT, T0 + 2).share == 0.05


def test_a_step_waits_until_its_pods_have_measured_room() -> None:
    canary = replace(CANARY, capacity=Capacity(ready_pods_at_least=1, room=1.3))
    progress = at_step(0, canary)
    # 25 % of 80/s with 1.3 times the room is 26/s; one pod at 50 ms answers 20/s, two answer 40/s.
    slow = VersionSeen(1, 500, 0.05)
    waiting = advance(progress, canary, saying(Says.UNDECIDED, progress, candidate=slow), later(progress))
    assert (waiting.state, waiting.waits, waiting.share) == (WAITING, (Wait.CAPACITY,), 0.05)
    assert "26 requests/s" in waiting.because
    two = saying(Says.UNDECIDED, waiting, candidate=replace(slow, ready_pods=2))
    assert advance(waiting, canary, two, later(waiting)).share == 0.25


def test_a_version_that_was_never_measured_begins_with_a_trickle() -> None:
    canary = replace(CANARY, capacity=Capacity())
    unknown = replace(SIGHT, candidate=VersionSeen(2))
    progress = advance(begun(canary), canary, unknown, T0)
    assert (progress.state, progress.share, progress.waits) == (WAITING, 0.01, (Wait.CAPACITY,))
    assert advance(progress, canary, unknown, T0 + TRICKLE_S - 1) is progress
    doubled = advance(progress, canary, unknown, T0 + TRICKLE_S)
    assert doubled.share == 0.02
    assert advance(doubled, canary, SIGHT, T0 + TRICKLE_S + 1).share == 0.05
    for _ in range(3):
        doubled = advance(doubled, canary, unknown, doubled.moved_s + TRICKLE_S)
    assert (doubled.share, doubled.state) == (0.05, RUNNING)


def test_room_is_not_asked_of_a_version_whose_requests_tell_of_no_device() -> None:
    canary = replace(CANARY, capacity=Capacity())
    foreign = replace(SIGHT, candidate=VersionSeen(2, 100, None))
    assert advance(begun(canary), canary, foreign, T0).share == 0.05


# --- policy


def test_a_reload_of_the_same_canary_changes_nothing_and_another_id_or_version_begins_anew() -> None:
    progress = at_step(1)
    assert follow(progress, route(), T0 + 9) is progress
    assert follow(progress, route(replace(CANARY, judge=Judge("1", alpha=0.05))), T0 + 9) is progress
    for canary in (replace(CANARY, id="second"), replace(CANARY, version="3")):
        anew = follow(progress, route(canary), T0 + 9)
        assert anew is not None
        assert (anew.step, anew.share, anew.revision, anew.canary) == (0, 0.0, progress.revision + 1, canary.id)
    assert follow(progress, route(None), T0 + 9) is None
    assert follow(progress, None, T0 + 9) is None
    again = follow(None, route(), T0 + 9, fence=41)
    assert again is not None
    assert again.revision == 42


def test_edited_steps_keep_progress_and_of_edited_shares_the_lower_holds() -> None:
    progress = at_step(1)

    def edited(*shares: float) -> Progress:
        canary = replace(CANARY, steps=tuple(CanaryStep(share) for share in shares))
        found = follow(progress, route(canary), T0 + 9)
        assert found is not None
        return found

    later_steps = edited(0.05, 0.25, 0.5, 1.0)
    assert (later_steps.step, later_steps.target_share, later_steps.revision) == (1, 0.25, progress.revision + 1)
    assert edited(0.05, 0.4, 1.0).target_share == 0.25
    assert edited(0.05, 0.1, 1.0).target_share == 0.1
    assert edited(0.01, 0.05, 0.25, 1.0).target_share == 0.05
    lower = edited(0.05, 0.1, 1.0)
    canary = replace(CANARY, steps=(CanaryStep(0.05), CanaryStep(0.1), CanaryStep(1.0)))
    assert advance(lower, canary, SIGHT, T0 + 10).share == 0.1
    shorter = edited(0.05)
    assert (shorter.step, shorter.target_share, shorter.began_revision) == (0, 0.05, shorter.revision)


def test_a_promoted_canary_whose_last_step_is_lowered_goes_back_to_it() -> None:
    progress = at_step(2)
    promoted = advance(progress, CANARY, saying(Says.SAFE, progress), later(progress))
    lower = replace(CANARY, steps=(*STEPS[:2], CanaryStep(0.5)))
    back = follow(promoted, route(lower), T0 + 9)
    assert back is not None
    assert (back.state, back.target_share, back.is_promoted) == (RUNNING, 0.5, False)
    assert advance(back, lower, SIGHT, T0 + 10).share == 0.5


def test_another_stable_version_begins_the_comparison_anew() -> None:
    progress = at_step(1)
    found = follow(progress, route(stable="3"), T0 + 9)
    assert found is not None
    assert (found.stable, found.step, found.share, found.began_revision) == ("3", 1, 0.25, found.revision)


# --- laws

SAYS = st.sampled_from([None, Says.UNDECIDED, Says.SAFE, Says.HARM, Says.NO_TRAFFIC])
SEEN = st.builds(
    VersionSeen, st.integers(0, 4), st.sampled_from([0, 19, 20, 1000]), st.sampled_from([None, 0.001, 0.05, 1.0])
)
SHARES = st.lists(st.sampled_from([0.01, 0.05, 0.1, 0.25, 0.5, 1.0]), min_size=1, max_size=4, unique=True).map(sorted)
STEP = st.builds(
    CanaryStep,
    st.just(0.0),
    st.sampled_from([0.0, 60.0]),
    st.sampled_from([0, 100]),
    st.booleans(),
    st.sampled_from(["", "dark"]),
)


@st.composite
def canaries(draw: st.DrawFn) -> Canary:
    steps = tuple(replace(draw(STEP), share=share) for share in draw(SHARES))
    return Canary(
        draw(st.sampled_from(["first", "second"])),
        "2",
        steps,
        Judge("1", no_traffic_s=300.0),
        is_judged=draw(st.booleans()),
        on_harm=draw(st.sampled_from(["rollback", "pause"])),
        on_pass=draw(st.sampled_from(["advance", "pause"])),
        capacity=draw(st.sampled_from([None, Capacity(), Capacity(2, 1.3, 600.0)])),
    )


class Rollouts(RuleBasedStateMachine):
    """Whatever happens to a rollout, in whatever order."""

    @initialize(canary=canaries())
    def begin(self, canary: Canary) -> None:
        self.now_s = T0
        self.canary = canary
        self.progress = begun(canary)

    def _goes_to(self, after: Progress) -> None:
        before, self.progress = self.progress, after
        if after is before:
            return
        assert after.revision == before.revision + 1
        assert 0.0 <= after.share <= 1.0
        is_another = after.canary != before.canary
        assert is_another or before.state is not ROLLED_BACK or after.state is ROLLED_BACK
        assert is_another or after.state is not ROLLED_BACK or after.share <= before.share

    @rule(
        says=SAYS,
        requests=st.sampled_from([0, 1, 99, 100]),
        candidate=SEEN,
        stable=SEEN,
        rate=st.sampled_from([0.0, 20.0, 1e4]),
        same=st.booleans(),
        wait_s=st.sampled_from([0.0, 1.0, 60.0, 600.0]),
    )
    def time_passes(
        self,
        says: Says | None,
        requests: int,
        candidate: VersionSeen,
        stable: VersionSeen,
        rate: float,
        same: bool,
        wait_s: float,
    ) -> None:
        self.now_s += wait_s
        before, canary = self.progress, self.canary
        sight = saying(says or Says.UNDECIDED, before, requests)
        sight = replace(
            sight,
            verdict=sight.verdict if says is not None else None,
            candidate=candidate,
            stable=stable,
            rate_per_s=rate,
            busiest_per_s=rate,
            same_shadows=frozenset({"dark"} if same else ()),
        )
        lacking = what_lacks(before, canary, sight, self.now_s)
        after = advance(before, canary, sight, self.now_s)
        self._goes_to(after)
        if says is Says.HARM and canary.is_judged and not before.is_over:
            assert after.state is (ROLLED_BACK if canary.on_harm == "rollback" else PAUSED)
        if after.share > before.share:
            assert before.state in (RUNNING, WAITING)
            assert candidate.ready_pods >= (1 if canary.capacity is None else canary.capacity.ready_pods_at_least)
            assert (after.step, after.is_promoted) == (before.step, before.is_promoted) or not lacking
            assert after.share <= after.target_share

    @rule(command=st.sampled_from(list(Command)), ready=st.integers(0, 1))
    def somebody_orders(self, command: Command, ready: int) -> None:
        sight = replace(SIGHT, stable=VersionSeen(ready))
        try:
            after = obey(self.progress, order(command), sight, self.now_s)
        except MakesNoSense:
            return
        assert after.share <= self.progress.share
        self._goes_to(after)

    @rule(canary=canaries())
    def policy_changes(self, canary: Canary) -> None:
        after = follow(self.progress, route(canary), self.now_s)
        assert after is not None
        is_another = canary.id != self.canary.id
        assert is_another or after.target_share <= self.progress.target_share
        self.canary = canary
        self._goes_to(after)

    @rule()
    def the_supervisor_starts_again(self) -> None:
        kept = msgspec.json.decode(msgspec.json.encode(self.progress), type=Progress)
        assert kept == self.progress
        assert follow(kept, route(self.canary), self.now_s) is kept
        self.progress = kept

    @invariant()
    def its_stage_is_what_it_says(self) -> None:
        stage = stage_of(self.progress)
        assert stage.is_over == self.progress.is_over
        assert self.progress.step < len(self.canary.steps)
        assert self.progress.began_revision <= self.progress.revision


Rollouts.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
test_no_order_of_events_breaks_the_laws = Rollouts.TestCase
