"""The state machine of a rollout: what policy, time, the judge and people make of its progress.

::

    running  ── hold, traffic and verdict are there ──>  the next step, and after the last one: promoted
       │ ^
       v │   approval, shadow, traffic, capacity or ready pods lack once the rest is there
    waiting

    running, waiting, paused, promoted  ── harm ──>  rolled back, or paused where policy says `on_harm: pause`
    running, waiting  ── a person, or no traffic for too long ──>  paused  ── a person ──>  as before
    anything but rolled back  ── a person ──>  rolled back, which only a new id or version leaves

Harm is looked for in every state but the last, after the promotion for as long as `keep_stable` lasts. A share rises
only to pods that are ready and have room, and falls only as fast as stable's ready pods can take what it leaves. A
version that was never measured begins with a trickle where `capacity` is written: 1 %, twice as much after each minute
that brought no measurement, and never more than its first step.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from gateway.decide.rollouts.judge import requires_safe
from gateway.decide.rollouts.progress import JUDGE, POLICY, Progress, RolloutState, Sight, Wait, percent
from gateway.decide.rollouts.room import Lack, is_measured, lack_of_room, stable_can_take
from gateway.decide.rollouts.verdict import Says, Verdict
from policies.snapshot.release import Canary
from policies.snapshot.route import Route
from policies.units import duration_text

TRICKLE_SHARE = 0.01
TRICKLE_S = 60.0
# A share that falls by less is left as it is until it can fall by more: each change is told and recorded.
_WORTH_TELLING = 0.01
_GOES_ON = (RolloutState.RUNNING, RolloutState.WAITING)
# What the passing of time and requests brings by themselves, as long as a step is held or not yet judged.
_COMES_BY_ITSELF = frozenset({Wait.HOLD, Wait.VERDICT})


class Command(StrEnum):
    """What a person may do to a rollout."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    PROMOTE_TO_END = "promote to the end"
    ROLLBACK = "rollback"


class Order(Struct, frozen=True):
    """What somebody wants done.

    Attributes:
        by: as the audit log names them.
        from_step: where they saw it, of a promotion; None for wherever it is.
    """

    command: Command
    by: str
    reason: str
    from_step: int | None = None


class MakesNoSense(Exception):
    """The order cannot be followed as things stand; its text is a sentence with what can be done."""


# --- policy


def follow(progress: Progress | None, route: Route | None, now_s: float, fence: int = 0) -> Progress | None:
    """Return the progress under a generation of policy: as it is, changed, begun anew, or None without a canary.

    Args:
        route: None for a model that policy does not have.
        fence: the last revision that the model has had, should the progress not be known any more.
    """
    canary = route.canary if route is not None else None
    if route is None or canary is None:
        return None
    if progress is None or (progress.canary, progress.version) != (canary.id, canary.version):
        return _begun(route, canary, now_s, max(fence, progress.revision if progress is not None else 0) + 1)
    ladder = _ladder(canary)
    followed = progress
    if ladder != progress.ladder:
        followed = _on_other_steps(progress, ladder, now_s)
    if route.stable != progress.stable:
        because = f"it is compared to version {route.stable} from now on"
        followed = replace(_watched_anew(followed, now_s), stable=route.stable, because=because)
    return followed if followed is progress else _changed(progress, followed, now_s, POLICY)


def _begun(route: Route, canary: Canary, now_s: float, revision: int) -> Progress:
    ladder = _ladder(canary)
    return Progress(
        model=route.model,
        canary=canary.id,
        version=canary.version,
        stable=route.stable,
        state=RolloutState.RUNNING,
        step=0,
        share=0.0,
        revision=revision,
        ladder=ladder,
        ceiling=ladder[0],
        began_s=now_s,
        began_revision=revision,
        moved_s=now_s,
        watched_from_s=now_s,
        changed_s=now_s,
        because=f"policy has the canary {canary.id} of version {canary.version}",
    )


def _ladder(canary: Canary) -> tuple[float, ...]:
    return tuple(step.share for step in canary.steps)


def _on_other_steps(progress: Progress, ladder: tuple[float, ...], now_s: float) -> Progress:
    """Return the progress on edited steps: later ones change nothing yet; of edited ones the lower share holds."""
    step = min(progress.step, len(ladder) - 1)
    because = "later steps were edited"
    edited = replace(progress, ladder=ladder, step=step, skipped=tuple(one for one in progress.skipped if one < step))
    if ladder[: step + 1] != progress.ladder[: progress.step + 1]:
        edited = replace(edited, ceiling=min(progress.ceiling, ladder[step]))
        because = f"a step that it has got to was edited: {percent(edited.ceiling)} is the lower of both shares"
    if progress.is_promoted and ladder[-1] < progress.ladder[-1]:
        state = RolloutState.RUNNING if progress.state is RolloutState.PROMOTED else progress.state
        edited = replace(edited, state=state, is_promoted=False, is_settled=False)
    if step != progress.step:
        edited = _watched_anew(edited, now_s)
    return replace(edited, because=because)


def _watched_anew(progress: Progress, now_s: float) -> Progress:
    revision = progress.revision + 1
    return replace(progress, began_s=now_s, began_revision=revision, moved_s=now_s, watched_from_s=now_s)


# --- people


def obey(progress: Progress, order: Order, sight: Sight, now_s: float) -> Progress:
    """Return the progress after an order.

    Raises:
        MakesNoSense: nothing changes.
    """
    match order.command:
        case Command.PAUSE:
            done = _paused_by_hand(progress)
        case Command.RESUME:
            done = _resumed(progress, now_s)
        case Command.ROLLBACK:
            done = _rolled_back_by_hand(progress, sight, now_s)
        case Command.PROMOTE | Command.PROMOTE_TO_END:
            done = _promoted_by_hand(progress, order)
    return _changed(progress, replace(done, because=order.reason), now_s, order.by)


def _paused_by_hand(progress: Progress) -> Progress:
    if progress.state not in _GOES_ON:
        raise MakesNoSense(f"It is {progress.state}: there is nothing to pause.")
    return replace(progress, state=RolloutState.PAUSED, waits=())


def _resumed(progress: Progress, now_s: float) -> Progress:
    if progress.state is not RolloutState.PAUSED:
        raise MakesNoSense(f"It is {progress.state}, not paused.")
    state = RolloutState.PROMOTED if progress.is_promoted else RolloutState.RUNNING
    resumed = replace(progress, state=state, waits=(), resumed_s=now_s, is_harmed=False)
    # Whoever resumes one that did harm has seen that harm: what comes from now on is judged.
    return _watched_anew(resumed, now_s) if progress.is_harmed else resumed


def _rolled_back_by_hand(progress: Progress, sight: Sight, now_s: float) -> Progress:
    if progress.state is RolloutState.ROLLED_BACK:
        raise MakesNoSense("It is rolled back already; a new id in the route's `canary` begins another.")
    return _rolled_back(progress, sight, now_s)


def _promoted_by_hand(progress: Progress, order: Order) -> Progress:
    if order.from_step is not None and order.from_step != progress.step:
        # Two who promote the same step at once would take it two steps further.
        raise MakesNoSense(
            f"It is not at that step any more, but at {percent(progress.share)}: {progress.because}. Look again, and "
            "promote it once more if you mean that."
        )
    if progress.state is RolloutState.PAUSED:
        raise MakesNoSense("It is paused: resume it first.")
    if progress.state not in _GOES_ON:
        raise MakesNoSense(f"It is {progress.state}: there is nothing to promote.")
    if order.command is Command.PROMOTE_TO_END:
        if progress.is_to_end:
            raise MakesNoSense(f"It is on its way to the end already: {progress.because}.")
        return replace(progress, is_to_end=True, promoter=order.by, promoted_for=order.reason)
    if not {Wait.CAPACITY, Wait.PODS}.isdisjoint(progress.waits) or progress.share < progress.target_share:
        raise MakesNoSense(f"There is nothing to promote yet: {progress.because or 'its step has not begun'}.")
    if Wait.APPROVAL in progress.waits:
        return replace(progress, is_approved=True, promoter=order.by, promoted_for=order.reason)
    return replace(progress, is_passed=True, promoter=order.by, promoted_for=order.reason)


# --- time and the judge


def advance(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> Progress:
    """Return where a rollout stands now: the same when nothing changes, else its next revision."""
    moved = _moved(progress, canary, sight, now_s)
    if moved is None:
        return progress
    has_gone_on = (moved.step, moved.is_promoted) != (progress.step, progress.is_promoted)
    return _changed(progress, moved, now_s, progress.promoter if has_gone_on and progress.promoter else JUDGE)


def _moved(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> Progress | None:
    """Return what becomes of it, but for the revision; None when nothing."""
    verdict = _verdict_on(progress, sight) if canary.is_judged else None
    if progress.state is RolloutState.ROLLED_BACK:
        return _given_back(progress, sight, now_s)
    if verdict is not None and verdict.says is Says.HARM and not progress.is_settled:
        return _on_harm(progress, canary, verdict, sight, now_s)
    if progress.state is RolloutState.PAUSED:
        return _given_back(progress, sight, now_s)
    if progress.state is RolloutState.PROMOTED:
        return _settled(progress, canary, sight, now_s)
    if verdict is not None and verdict.says is Says.NO_TRAFFIC:
        quiet_s = now_s - max(progress.began_s, progress.resumed_s, sight.since_s)
        if quiet_s >= canary.judge.no_traffic_s:
            return _on_no_traffic(progress, canary, sight)
    if progress.share > progress.target_share:
        return _given_back(progress, sight, now_s)
    if progress.share < progress.target_share:
        return _raised(progress, canary, sight, now_s)
    lacking = what_lacks(progress, canary, sight, now_s)
    return _standing(progress, canary, lacking) if lacking else _next(progress, canary, sight, now_s)


def what_lacks(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> tuple[Wait, ...]:
    """Return what its step still lacks before the rollout goes on; there may be no room then."""
    return () if progress.is_passed or progress.is_to_end else _unmet(progress, canary, sight, now_s)


def _unmet(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> tuple[Wait, ...]:
    """Return what its step has not had of what policy asks for."""
    step = canary.steps[progress.step]
    is_whole = progress.ceiling >= 1.0
    # A step without any request says nothing, whatever policy asks for; at the whole share nothing is left to be seen.
    least = max(step.at_least, 0 if is_whole or not canary.is_judged else 1)
    lacking = {
        Wait.HOLD: now_s < progress.moved_s + step.hold_s,
        Wait.TRAFFIC: sight.requests < least,
        Wait.VERDICT: canary.is_judged and not is_whole and not _is_passable(progress, sight),
        Wait.APPROVAL: _needs_person(progress, canary) and not progress.is_approved,
        Wait.SHADOW: bool(step.requires_shadow) and step.requires_shadow not in sight.same_shadows,
    }
    return tuple(wait for wait, is_lacking in lacking.items() if is_lacking)


def _needs_person(progress: Progress, canary: Canary) -> bool:
    """Whether a person ends its step; beyond the whole share there is nothing to go to."""
    if canary.steps[progress.step].needs_approval:
        return True
    is_last, asks = progress.step == len(canary.steps) - 1, "pause"
    return progress.ceiling < 1.0 and (is_last or not canary.is_judged or canary.on_pass == asks)


def _verdict_on(progress: Progress, sight: Sight) -> Verdict | None:
    """Return the verdict, should it be on the step that the rollout is in."""
    verdict = sight.verdict
    is_on_it = verdict is not None and (verdict.canary, verdict.step) == (progress.canary, progress.step)
    return verdict if is_on_it else None


def _is_passable(progress: Progress, sight: Sight) -> bool:
    verdict = _verdict_on(progress, sight)
    if verdict is None or verdict.says in (Says.HARM, Says.NO_TRAFFIC):
        return False
    return verdict.says is Says.SAFE or not requires_safe(progress.ceiling)


def _on_harm(progress: Progress, canary: Canary, verdict: Verdict, sight: Sight, now_s: float) -> Progress | None:
    if canary.on_harm == "rollback":
        return replace(_rolled_back(progress, sight, now_s), because=verdict.because)
    if progress.is_harmed:
        return _given_back(progress, sight, now_s)
    return replace(progress, state=RolloutState.PAUSED, waits=(), is_harmed=True, because=verdict.because)


def _on_no_traffic(progress: Progress, canary: Canary, sight: Sight) -> Progress:
    limit = duration_text(canary.judge.no_traffic_s)
    why = f", and it waits: {progress.because}" if progress.waits else ""
    because = f"version {canary.version} had no request in {limit}{why}; {sight.owner} decides"
    return replace(progress, state=RolloutState.PAUSED, waits=(), because=because)


def _settled(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> Progress | None:
    """Return it as settled once harm was looked for without a break for as long as stable is kept."""
    keep_s = canary.capacity.keep_stable_s if canary.capacity is not None else 0.0
    if progress.is_settled or now_s < max(progress.changed_s, sight.since_s) + keep_s:
        return None
    because = f"version {progress.version} has done no harm since; make it the route's stable, and remove the canary"
    return replace(progress, is_settled=True, because=because)


def _rolled_back(progress: Progress, sight: Sight, now_s: float) -> Progress:
    gone = replace(progress, state=RolloutState.ROLLED_BACK, waits=(), is_promoted=False, is_settled=False)
    fallen = _given_back(gone, sight, now_s)
    return gone if fallen is None else fallen


def _given_back(progress: Progress, sight: Sight, now_s: float) -> Progress | None:
    """Return the progress with as low a share as its state wants and stable's ready pods allow."""
    target = progress.target_share
    if progress.share <= target:
        return None
    # What has left does not come back: this may be above the share.
    kept = max(target, 1.0 - stable_can_take(sight, progress.share))
    is_worth_telling = kept == target or progress.share - kept >= _WORTH_TELLING
    share = kept if is_worth_telling else progress.share
    waits = (Wait.PODS,) if share > target else ()
    if share == progress.share and waits == progress.waits:
        return None
    state = progress.state
    if state in _GOES_ON:
        state = RolloutState.WAITING if waits else RolloutState.RUNNING
    moved_s = now_s if share != progress.share else progress.moved_s
    because = _why_back(progress, share, sight)
    return replace(progress, state=state, share=share, waits=waits, moved_s=moved_s, because=because)


def _why_back(progress: Progress, share: float, sight: Sight) -> str:
    if share <= progress.target_share:
        return f"version {progress.stable} takes back all that is to leave version {progress.version}"
    if not sight.stable.ready_pods:
        return f"{percent(share)} stays on version {progress.version}: no pod of version {progress.stable} is ready"
    return (
        f"{percent(share)} stays on version {progress.version} until more pods of version {progress.stable} are ready: "
        f"the {sight.stable.ready_pods} that are can take {percent(1.0 - share)} of {sight.rate_per_s:.3g} requests/s"
    )


def _raised(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> Progress | None:
    """Return the progress with its step's share, or as much of it as there is room for."""
    target = progress.target_share
    lack = lack_of_room(canary, sight, target)
    share = target if lack is None else _trickle(progress, canary, sight, target, now_s)
    if lack is None or share == target:
        because = f"version {canary.version} has {sight.candidate.ready_pods} of its pods ready"
        return replace(progress, state=RolloutState.RUNNING, share=share, waits=(), moved_s=now_s, because=because)
    if share == progress.share:
        return _without_room(progress, lack)
    because = f"{percent(share)}, so that it is measured: {lack.because}"
    waiting = replace(progress, state=RolloutState.WAITING, waits=(lack.wait,))
    return replace(waiting, share=share, moved_s=now_s, because=because)


def _without_room(progress: Progress, lack: Lack) -> Progress | None:
    if (progress.state, progress.waits) == (RolloutState.WAITING, (lack.wait,)):
        return None
    return replace(progress, state=RolloutState.WAITING, waits=(lack.wait,), because=lack.because)


def _trickle(progress: Progress, canary: Canary, sight: Sight, target: float, now_s: float) -> float:
    seen, wanted = sight.candidate, canary.capacity
    may_begin = wanted is not None and seen.ready_pods >= max(1, wanted.ready_pods_at_least)
    if not may_begin or is_measured(seen):
        return progress.share
    if not progress.share:
        return min(target, TRICKLE_SHARE)
    return min(target, 2 * progress.share) if now_s >= progress.moved_s + TRICKLE_S else progress.share


def _standing(progress: Progress, canary: Canary, lacking: tuple[Wait, ...]) -> Progress | None:
    """Return the progress that stays in its step: running, or waiting once nothing lacks that comes by itself."""
    if not _COMES_BY_ITSELF.isdisjoint(lacking):
        if progress.state is RolloutState.RUNNING:
            return None
        because = "its step goes on"
        return replace(progress, state=RolloutState.RUNNING, waits=(), because=because)
    if (progress.state, progress.waits) == (RolloutState.WAITING, lacking):
        return None
    because = "; ".join(_in_words(wait, progress, canary) for wait in lacking)
    return replace(progress, state=RolloutState.WAITING, waits=lacking, because=because)


def _in_words(wait: Wait, progress: Progress, canary: Canary) -> str:
    step = canary.steps[progress.step]
    match wait:
        case Wait.APPROVAL:
            return f"somebody has to promote it from {percent(progress.share)}"
        case Wait.SHADOW:
            return f"the shadow {step.requires_shadow} is not called the same"
        case _:
            return f"version {canary.version} has not answered {max(1, step.at_least)} requests in this step"


def _next(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> Progress | None:
    share = _next_share(progress, canary)
    lack = lack_of_room(canary, sight, share) if share > progress.share else None
    if lack is not None:
        return _without_room(progress, lack)
    because = _why_on(progress, canary, sight, now_s)
    ended = replace(progress, skipped=_skipped(progress, canary, sight, now_s))
    if progress.is_to_end or progress.step == len(canary.steps) - 1:
        return _promoted(ended, canary, because, now_s)
    gone_on = replace(ended, state=RolloutState.RUNNING, step=progress.step + 1, share=share, ceiling=share)
    return _begun_step(replace(gone_on, waits=(), because=because), now_s)


def lack_now(progress: Progress, canary: Canary, sight: Sight) -> Lack | None:
    """Return the room that a rollout waits for, by what is seen now; None when it waits for none."""
    if progress.state is not RolloutState.WAITING or {Wait.CAPACITY, Wait.PODS}.isdisjoint(progress.waits):
        return None
    if progress.share >= progress.target_share:
        return lack_of_room(canary, sight, _next_share(progress, canary))
    return lack_of_room(canary, sight, progress.target_share)


def _next_share(progress: Progress, canary: Canary) -> float:
    is_end = progress.is_to_end or progress.step == len(canary.steps) - 1
    return 1.0 if is_end else canary.steps[progress.step + 1].share


def _skipped(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> tuple[int, ...]:
    """Return the steps that are skipped once this one has ended."""
    is_cut = any(wait is not Wait.APPROVAL for wait in _unmet(progress, canary, sight, now_s))
    left_out = range(progress.step + 1, len(canary.steps) - 1) if progress.is_to_end else ()
    return (*progress.skipped, *([progress.step] if is_cut else []), *left_out)


_SKIPS = {Wait.HOLD: "its time", Wait.TRAFFIC: "its requests", Wait.VERDICT: "a verdict", Wait.SHADOW: "its shadow"}


def _why_on(progress: Progress, canary: Canary, sight: Sight, now_s: float) -> str:
    if progress.promoter:
        is_passed = progress.is_passed or progress.is_to_end
        done = f"{'promoted' if is_passed else 'approved'}{' to the end' if progress.is_to_end else ''}"
        skips = [_SKIPS[wait] for wait in _unmet(progress, canary, sight, now_s) if wait in _SKIPS]
        without = f" without {', '.join(skips)}" if skips else ""
        return f"{done} by {progress.promoter}{without}: {progress.promoted_for}"
    if progress.step == len(canary.steps) - 1:
        return f"version {progress.version} has done all its steps"
    verdict = _verdict_on(progress, sight)
    return verdict.because if verdict is not None and canary.is_judged else "its step asked for nothing more"


def _promoted(progress: Progress, canary: Canary, because: str, now_s: float) -> Progress:
    is_settled = canary.capacity is None or not canary.capacity.keep_stable_s
    last = len(canary.steps) - 1
    whole = replace(progress, state=RolloutState.PROMOTED, step=last, share=1.0, waits=(), is_promoted=True)
    done = replace(whole, is_settled=is_settled, because=because)
    return done if (progress.step, progress.share) == (last, 1.0) else _begun_step(done, now_s)


def _begun_step(progress: Progress, now_s: float) -> Progress:
    """Return the progress with evidence of its own from now on; what was done by hand was for the step before."""
    begun = replace(progress, began_s=now_s, began_revision=progress.revision + 1, moved_s=now_s)
    if not progress.is_to_end:
        begun = replace(begun, promoter="", promoted_for="")
    return replace(begun, is_approved=False, is_passed=False)


def _changed(before: Progress, after: Progress, now_s: float, by: str) -> Progress:
    return replace(after, revision=before.revision + 1, changed_s=now_s, by=by)
