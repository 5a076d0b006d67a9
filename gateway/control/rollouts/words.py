"""What is told of a rollout's changes: an event line, the audit log's action, and the evidence that goes with it."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.control.rollout_reports import TransitionReport
from gateway.decide.rollouts.progress import Progress, RolloutState, Wait, percent
from gateway.decide.rollouts.verdict import Verdict

_MADE_BY_IT = ("judge", "policy")


def transition(before: Progress | None, after: Progress) -> TransitionReport:
    """Return the change as reports and the store have it."""
    return TransitionReport(
        at_s=after.changed_s,
        revision=after.revision,
        from_state=after.state if before is None else before.state,
        to_state=after.state,
        step=after.step,
        share=after.share,
        by=after.by,
        because=after.because,
    )


def action_of(before: Progress | None, after: Progress) -> str:
    """Return what the audit log calls a change."""
    if before is None or before.canary != after.canary or before.version != after.version:
        return "canary.begin"
    if after.state is not before.state and after.state in _ACTIONS:
        return _ACTIONS[after.state]
    if before.state is RolloutState.PAUSED and after.state is not RolloutState.PAUSED:
        return "canary.resume"
    if after.step != before.step:
        return "canary.advance"
    if after.share != before.share:
        return "canary.share"
    return "canary.wait" if after.state is RolloutState.WAITING else "canary.change"


_ACTIONS = {
    RolloutState.ROLLED_BACK: "canary.rollback",
    RolloutState.PROMOTED: "canary.promote",
    RolloutState.PAUSED: "canary.pause",
}


def subject_of(model: str, canary: str) -> str:
    """Return what the audit log calls a canary."""
    return f"rollout/{model}/{canary}"


def detail_of(before: Progress | None, after: Progress, verdict: Verdict | None) -> dict[str, Any]:
    """Return what the audit log keeps of a change: where it led from, to what, and the evidence."""
    return {
        "version": after.version,
        "from": None if before is None else _standing(before),
        "to": _standing(after),
        "by": after.by,
        "because": after.because,
        "verdict": None if verdict is None else _without_history(verdict),
    }


def _standing(progress: Progress) -> dict[str, Any]:
    return {
        "state": progress.state.value,
        "step": progress.step + 1,
        "share": progress.share,
        "revision": progress.revision,
    }


def _without_history(verdict: Verdict) -> Any:
    return msgspec.to_builtins(msgspec.structs.replace(verdict, history=()))


def event_line(before: Progress | None, after: Progress) -> str:
    """Return the change as a line for whoever watches."""
    by = "" if after.by in _MADE_BY_IT else f" by {after.by}"
    what = _what(action_of(before, after), after)
    because = f": {after.because}" if after.because else ""
    return f"{after.model}: canary {after.canary} {what}{by}{because}"


def _what(action: str, after: Progress) -> str:
    step, share = f"step {after.step + 1} of {len(after.ladder)}", percent(after.share)
    match action:
        case "canary.begin":
            return f"of version {after.version} begins"
        case "canary.rollback":
            rest = f", and keeps {share} until pods of version {after.stable} are ready" if after.share else ""
            return f"is rolled back{rest}"
        case "canary.promote":
            return f"is promoted: version {after.version} has every request but of those left out"
        case "canary.pause":
            return f"is paused at {share}"
        case "canary.resume":
            return f"goes on at {share}"
        case "canary.advance":
            return f"goes to {share} ({step})"
        case "canary.share":
            return f"has {share} now ({step})"
        case "canary.wait":
            return f"waits for {' and '.join(_WAITED[wait] for wait in after.waits)} at {share} ({step})"
        case _:
            return f"stands at {share} ({step})"


_WAITED = {
    Wait.HOLD: "its time",
    Wait.TRAFFIC: "requests",
    Wait.VERDICT: "a verdict",
    Wait.APPROVAL: "approval",
    Wait.SHADOW: "its shadow",
    Wait.CAPACITY: "room",
    Wait.PODS: "ready pods",
}


def gone_line(progress: Progress) -> str:
    """Return the line for a canary that policy does not have any more."""
    stood = f"it stood at {percent(progress.share)}" if progress.state is not RolloutState.PROMOTED else "it had all"
    return f"{progress.model}: canary {progress.canary} is in the policy no more; {stood}"
