"""Decides how canaries are drawn: where each stands, what it waits for, what was seen, and what may be done."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from telemetry.hub.shown.axis import Bar, Tick, bar
from telemetry.hub.shown.evidence import Chart, ClaimRow, chart, claim_row
from telemetry.hub.shown.formats import count, date, duration, factor, moment, percent, sentence, share, times, window
from telemetry.hub.shown.objectives import HEADROOM
from telemetry.hub.shown.release_answers import Arm, CanaryBurn, Change, Rollout, Rollouts, Step, Verdict

_FIRST = ("paused", "waiting", "running", "rolled back", "promoted")
"""Those that need somebody come first."""

_LEVELS = {"running": "going", "waiting": "ticket", "paused": "ticket", "promoted": "ok", "rolled back": "page"}
_VERDICT_LEVELS = {"harm": "page", "safe": "ok", "no traffic": "ticket"}
_OVER = ("promoted", "rolled back")


class RolloutRow(Struct, frozen=True):
    """One canary in a line.

    Attributes:
        level, verdict_level: how to colour its state and its verdict.
        share: of the new version, as a text and a bar with a tick at each step.
        short: why the share is not that of the step; "" when it is.
        verdict: in a sentence.
    """

    rollout: Rollout
    level: str
    share: str
    bar: Bar
    ticks: tuple[Tick, ...]
    short: str
    step: str
    waits: tuple[str, ...]
    says: str
    verdict_level: str
    verdict: str
    since: str
    lasts: str


class Rung(Struct, frozen=True):
    """One step of the ladder; ``asks`` is what it takes to leave it."""

    number: int
    share: str
    bar: Bar
    state: str
    asks: tuple[str, ...]


class ArmRow(Struct, frozen=True):
    """What was seen of one version in this step."""

    name: str
    arm: Arm
    requests: str
    bad: str
    bad_share: str
    slow: str
    wrong_labels: str
    bad_keys: str


class BurnRow(Struct, frozen=True):
    """How fast the canary's own requests burn, with a tick at the rate above which that is harm."""

    objective: str
    rate: str
    over: str
    bound: str
    bar: Bar
    ticks: tuple[Tick, ...]
    is_hot: bool
    note: str


class ChangeRow(Struct, frozen=True):
    """One change of state."""

    change: Change
    at: str
    level: str
    to: str


class Command(Struct, frozen=True):
    """Something to type, and what it does."""

    does: str
    typed: str


class RolloutView(Struct, frozen=True):
    """The page of one canary."""

    row: RolloutRow
    ladder: tuple[Rung, ...]
    arms: tuple[ArmRow, ...]
    claims: tuple[ClaimRow, ...]
    chart: Chart | None
    burn: BurnRow | None
    changes: tuple[ChangeRow, ...]
    commands: tuple[Command, ...]
    next: str


def rollout_rows(told: Rollouts) -> tuple[RolloutRow, ...]:
    """Return every canary, those that need somebody first."""
    rank = {state: place for place, state in enumerate(_FIRST)}
    ordered = sorted(told.rollouts, key=lambda each: (rank.get(each.state, 0), each.model))
    return tuple(rollout_row(each, told.at_s) for each in ordered)


def rollout_of(told: Rollouts, model: str) -> Rollout | None:
    """Return the model's canary; None when it has none."""
    return next((each for each in told.rollouts if each.model == model), None)


def rollout_row(rollout: Rollout, now_s: float) -> RolloutRow:
    """Return one canary in a line."""
    verdict = rollout.verdict
    is_short = abs(rollout.share - rollout.target_share) > 1e-9
    return RolloutRow(
        rollout,
        _LEVELS.get(rollout.state, "none"),
        share(rollout.share),
        bar(0.0, rollout.share, 1.0),
        tuple(Tick(percent(step.share), share(step.share)) for step in rollout.steps),
        f"of {share(rollout.target_share)}" if is_short else "",
        f"{min(rollout.step + 1, len(rollout.steps))} of {len(rollout.steps)}",
        () if rollout.state in _OVER else tuple(_wait(what, rollout) for what in rollout.waiting_for),
        verdict.says if verdict else "no verdict yet",
        _VERDICT_LEVELS.get(verdict.says, "none") if verdict else "none",
        sentence(verdict.says, verdict.because) if verdict else "",
        date(rollout.since_s),
        duration(max(0.0, now_s - rollout.since_s)),
    )


def rollout_view(rollout: Rollout, now_s: float) -> RolloutView:
    """Return the page of one canary."""
    verdict = rollout.verdict
    return RolloutView(
        rollout_row(rollout, now_s),
        tuple(_rung(number, step) for number, step in enumerate(rollout.steps, 1)),
        _arms(verdict) if verdict else (),
        _claims(verdict) if verdict else (),
        chart(verdict) if verdict else None,
        _burn_row(verdict.burn) if verdict and verdict.burn else None,
        tuple(_change_row(change) for change in rollout.transitions),
        _commands(rollout),
        _next(rollout),
    )


def _wait(what: str, rollout: Rollout) -> str:
    """Return in words what the step still lacks; a word that we do not know stays as it is."""
    step = rollout.steps[rollout.step] if rollout.step < len(rollout.steps) else None
    words: Mapping[str, Callable[[], str]] = {
        "hold": lambda: f"its time, until {moment(rollout.next_s)}" if rollout.next_s is not None else "its time",
        "traffic": lambda: _traffic(rollout.verdict, step),
        "verdict": lambda: "a verdict",
        "approval": lambda: "somebody to promote it",
        "capacity": lambda: "room in the new version's pods",
        "shadow": lambda: _requirement(step),
        "pods": lambda: "ready pods",
    }
    return words[what]() if what in words else what


def _traffic(verdict: Verdict | None, step: Step | None) -> str:
    if verdict is None or step is None or step.at_least == 0:
        return "requests"
    return f"requests, {count(verdict.candidate.requests)} of {count(step.at_least)}"


def _requirement(step: Step | None) -> str:
    return f"shadow {step.requires_shadow} to be called the same" if step and step.requires_shadow else "its shadow"


def _rung(number: int, step: Step) -> Rung:
    asks = (
        window(step.hold_s) if step.hold_s else "",
        f"{count(step.at_least)} requests" if step.at_least else "",
        f"shadow {step.requires_shadow} the same" if step.requires_shadow else "",
        "approval" if step.needs_approval else "",
    )
    state = "ended here" if step.state == "ended" else step.state
    return Rung(number, share(step.share), bar(0.0, step.share, 1.0), state, tuple(ask for ask in asks if ask))


def _arms(verdict: Verdict) -> tuple[ArmRow, ...]:
    return (_arm_row("stable", verdict.stable), _arm_row("canary", verdict.candidate))


def _arm_row(name: str, arm: Arm) -> ArmRow:
    return ArmRow(
        name,
        arm,
        count(arm.requests),
        count(arm.bad),
        share(arm.bad / arm.requests if arm.requests else None),
        count(arm.slow),
        count(arm.wrong_labels),
        count(arm.bad_keys),
    )


def _claims(verdict: Verdict) -> tuple[ClaimRow, ...]:
    return (
        claim_row("it does harm", "harm", verdict.harm, verdict.proved_at),
        claim_row("it is safe beside stable", "safe", verdict.safe, verdict.safe_at),
        claim_row("it keeps within the error budget", "safe", verdict.within_budget, verdict.safe_at),
    )


def _burn_row(burn: CanaryBurn) -> BurnRow:
    whole = max(HEADROOM * (burn.above or 1.0), burn.rate)
    return BurnRow(
        burn.objective,
        times(burn.rate),
        duration(burn.over_s),
        "" if burn.above is None else factor(burn.above),
        bar(0.0, burn.rate, whole),
        () if burn.above is None else (Tick(percent(burn.above / whole), factor(burn.above)),),
        burn.is_enough and burn.above is not None and burn.rate > burn.above,
        f"{count(burn.requests)} requests" + ("" if burn.is_enough else ": too few to say anything"),
    )


def _change_row(change: Change) -> ChangeRow:
    to = f"step {change.step + 1}, {share(change.share)}"
    return ChangeRow(change, date(change.at_s), _LEVELS.get(change.to_state, "none"), to)


def _commands(rollout: Rollout) -> tuple[Command, ...]:
    """Return what may be done in this state, as it is typed."""
    asked = {
        "running": (_PAUSE, _PROMOTE, _ROLLBACK),
        "waiting": (_PROMOTE, _PAUSE, _ROLLBACK),
        "paused": (_RESUME, _ROLLBACK),
        "promoted": (_ROLLBACK,),
        "rolled back": (),
    }.get(rollout.state, ())
    return _typed((_WATCH, *asked), rollout.model)


_WATCH = ("watch it in a terminal", "penstock rollout status {} --watch")
_PAUSE = ("hold the share where it is", "penstock rollout pause {} --reason 'WHY'")
_RESUME = ("let it go on", "penstock rollout resume {} --reason 'WHY'")
_PROMOTE = ("approve this step, or go to the next at once", "penstock rollout promote {} --reason 'WHY'")
_ROLLBACK = ("give everything back to stable", "penstock rollout rollback {} --reason 'WHY'")


def _typed(commands: Sequence[tuple[str, str]], model: str) -> tuple[Command, ...]:
    return tuple(Command(does, typed.format(shlex.quote(model))) for does, typed in commands)


def _next(rollout: Rollout) -> str:
    """Return what the owner does in files once it is over."""
    where = f"routes/{rollout.model}.yaml"
    if rollout.state == "promoted":
        return f'Make it lasting in {where}: write stable: "{rollout.version}" and remove canary.'
    if rollout.state == "rolled back":
        return f"To try again, give the canary in {where} a new id; to let it be, remove canary."
    return ""
