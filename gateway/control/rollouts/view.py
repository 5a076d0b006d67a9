"""Puts rollouts together as reports."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from gateway.control.rollout_reports import RolloutReport, RolloutsReport, StepReport
from gateway.control.rollouts.keeper import Rollout
from gateway.decide.rollouts.machine import lack_now, what_lacks
from gateway.decide.rollouts.progress import Progress, RolloutState, Wait
from policies.snapshot.release import Canary

SHOWN_TRANSITIONS = 100


def rollouts_report(rollouts: Iterable[Rollout], generation: int, now_s: float) -> RolloutsReport:
    """Return every rollout, by model."""
    reports = [rollout_report(one, generation, now_s) for one in rollouts]
    return RolloutsReport(now_s, tuple(sorted(reports, key=lambda one: one.model)))


def rollout_report(rollout: Rollout, generation: int, now_s: float) -> RolloutReport:
    """Return one rollout, as it was seen last."""
    progress, canary = rollout.progress, rollout.canary
    lacking = _lacking(rollout, now_s)
    verdict = rollout.sight.verdict if rollout.sight is not None else None
    is_on_it = verdict is not None and (verdict.canary, verdict.step) == (progress.canary, progress.step)
    transitions = list(rollout.transitions)[-SHOWN_TRANSITIONS:]
    return RolloutReport(
        model=progress.model,
        canary=progress.canary,
        version=progress.version,
        stable=progress.stable,
        owner=rollout.route.owner,
        generation=generation,
        state=progress.state,
        revision=progress.revision,
        step=progress.step,
        steps=tuple(_step_report(canary, progress, step) for step in range(len(canary.steps))),
        share=progress.share,
        target_share=progress.target_share,
        since_s=progress.began_s,
        waiting_for=tuple(wait.value for wait in lacking),
        next_s=progress.moved_s + canary.steps[progress.step].hold_s if lacking == (Wait.HOLD,) else None,
        because=_because(rollout),
        verdict=verdict if is_on_it else None,
        transitions=tuple(reversed(transitions)),
    )


def _lacking(rollout: Rollout, now_s: float) -> tuple[Wait, ...]:
    progress = rollout.progress
    if progress.waits or rollout.sight is None or progress.state is not RolloutState.RUNNING:
        return progress.waits
    return what_lacks(progress, rollout.canary, rollout.sight, now_s)


def _because(rollout: Rollout) -> str:
    """Return why it stands where it does; what it says of room and pods is as of now."""
    progress = rollout.progress
    lack = lack_now(progress, rollout.canary, rollout.sight) if rollout.sight is not None else None
    return lack.because if lack is not None else progress.because


def _step_report(canary: Canary, progress: Progress, step: int) -> StepReport:
    written = canary.steps[step]
    state = "later"
    if step < progress.step:
        state = "skipped" if step in progress.skipped else "done"
    elif step == progress.step:
        state = "ended" if progress.state is RolloutState.ROLLED_BACK else "now"
    return StepReport(
        share=written.share,
        hold_s=written.hold_s,
        at_least=written.at_least,
        needs_approval=written.needs_approval,
        requires_shadow=written.requires_shadow,
        state=state,
    )


def without_history(report: RolloutReport) -> RolloutReport:
    """Return a report for a list: its verdict without the e-values over time, its transitions without all but one."""
    verdict = replace(report.verdict, history=()) if report.verdict is not None else None
    return replace(report, verdict=verdict, transitions=report.transitions[:1])
