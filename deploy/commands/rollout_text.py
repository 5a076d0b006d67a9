"""What ``penstock rollout`` says to people: where a canary stands, why, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deploy.commands.table import printable, table
from gateway.control.rollout_reports import RolloutReport, RolloutsReport, StepReport, TransitionReport
from gateway.control.slo_words import length
from gateway.control.view import utc
from gateway.decide.rollouts.progress import RolloutState, percent
from gateway.decide.rollouts.verdict import ArmSeen, BurnSeen, Verdict
from policies.units import duration_text

SHOWN_TRANSITIONS = 8
_OVER = (RolloutState.PROMOTED, RolloutState.ROLLED_BACK)
# A line of the history; the first of them is told whole above, and all of them in the audit log.
_SHORT = 80
# Beyond it only the order of an e-value matters.
_LARGE = 1e6


def rollouts_text(report: RolloutsReport) -> str:
    """Return all canaries, a line each."""
    if not report.rollouts:
        return "no route has a canary: write `canary:` in routes/MODEL.yaml"
    head = ("MODEL", "CANARY", "VERSION", "STATE", "STEP", "SHARE", "WAITS FOR", "VERDICT", "SINCE")
    rows = [
        (
            one.model,
            one.canary,
            one.version,
            one.state.value,
            f"{one.step + 1} of {len(one.steps)}",
            percent(one.share),
            ", ".join(one.waiting_for) or None,
            one.verdict.says.value if one.verdict is not None else None,
            _ago(one.since_s, report.at_s),
        )
        for one in report.rollouts
    ]
    return table(head, rows)


def rollout_text(report: RolloutReport, now_s: float) -> str:
    """Return one canary: where it stands, its evidence, and what to do next."""
    parts = [
        _headline(report, now_s),
        _steps(report.steps),
        *([_evidence(report.verdict)] if report.verdict is not None else []),
        *([_transitions(report.transitions, now_s)] if report.transitions else []),
        "\n".join(["next:", *(f"  {line}" for line in next_lines(report))]),
    ]
    return "\n\n".join(parts)


def in_one_line(report: RolloutReport) -> str:
    """Return where a canary stands, in a line."""
    waits = f", waits for {' and '.join(report.waiting_for)}" if report.waiting_for else ""
    step = "" if report.state in _OVER else f", step {report.step + 1} of {len(report.steps)}"
    return (
        f"{report.model}: canary {report.canary} of version {report.version} is {report.state.value}"
        f" at {percent(report.share)}{step}{waits}"
    )


def _headline(report: RolloutReport, now_s: float) -> str:
    lines = [
        in_one_line(report),
        f"beside version {report.stable}; owner {report.owner}, generation {report.generation}, "
        f"in this step since {_ago(report.since_s, now_s)}",
    ]
    if report.share != report.target_share:
        lines.append(f"it is to have {percent(report.target_share)}")
    if report.next_s is not None:
        lines.append(f"it can go on in {length(max(0.0, report.next_s - now_s))}, should nothing go wrong")
    return "\n".join([*lines, f"why: {printable(report.because)}"] if report.because else lines)


def _steps(steps: Sequence[StepReport]) -> str:
    head = ("STEP", "SHARE", "HOLD", "REQUESTS", "NEEDS", "")
    rows = [
        (
            number,
            percent(step.share),
            duration_text(step.hold_s) if step.hold_s else None,
            step.at_least or None,
            ", ".join(_needs(step)) or None,
            {"now": "<- now", "ended": "<- ended here", "later": ""}.get(step.state, step.state),
        )
        for number, step in enumerate(steps, 1)
    ]
    return table(head, rows)


def _needs(step: StepReport) -> Iterator[str]:
    if step.needs_approval:
        yield "approval"
    if step.requires_shadow:
        yield f"shadow {step.requires_shadow}"


def _evidence(verdict: Verdict) -> str:
    lines = [f"verdict: {verdict.because}", "", _arms(verdict), "", _e_values(verdict)]
    if verdict.burn is not None:
        lines.append(_burn(verdict.burn))
    for arm in (verdict.candidate, verdict.stable):
        lines += [f"bad on version {arm.version}: penstock trace {trace_id}" for trace_id in arm.examples]
    return "\n".join(lines)


def _arms(verdict: Verdict) -> str:
    head = ("ARM", "VERSION", "REQUESTS", "BAD", "BAD RATE", "SLOW", "BAD KEYS", "WRONG LABELS")
    return table(head, [_arm("canary", verdict.candidate), _arm("stable", verdict.stable)])


def _arm(name: str, arm: ArmSeen) -> tuple[str | int | None, ...]:
    rate = f"{arm.bad / arm.requests:.3%}" if arm.requests else None
    return (name, arm.version, arm.requests, arm.bad, rate, arm.slow, arm.bad_keys, arm.wrong_labels)


def _e_values(verdict: Verdict) -> str:
    values = (
        f"harm {_number(verdict.harm)} of {_number(verdict.proved_at)}",
        f"safe {_number(verdict.safe)} of {_number(verdict.safe_at)}",
        f"within budget {_number(verdict.within_budget)} of {_number(verdict.safe_at)}",
    )
    return f"e-values, and what proves: {'; '.join(values)}"


def _number(value: float) -> str:
    if value >= _LARGE:
        return "over a million"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _burn(burn: BurnSeen) -> str:
    limit = "no limit" if burn.above is None else f"limit {burn.above:g}x"
    few = "" if burn.is_enough else ", too few bad ones to judge by"
    return (
        f"burn: {burn.objective} {burn.rate:.3g}x over {length(burn.over_s)}, {limit} ({burn.requests:,} requests{few})"
    )


def _transitions(transitions: Sequence[TransitionReport], now_s: float) -> str:
    head = ("CHANGED", "STATE", "STEP", "SHARE", "BY", "BECAUSE")
    rows = [
        (_ago(one.at_s, now_s), one.to_state.value, one.step + 1, percent(one.share), one.by, _short(one.because))
        for one in transitions[:SHOWN_TRANSITIONS]
    ]
    return table(head, rows)


def _short(because: str) -> str:
    return because if len(because) <= _SHORT else f"{because[: _SHORT - 1]}…"


def next_lines(report: RolloutReport) -> list[str]:
    """Return what somebody can do now."""
    model, file = report.model, f"routes/{report.model}.yaml"
    match report.state:
        case RolloutState.ROLLED_BACK:
            lines = ["look at bad requests: `penstock trace ID`"] if _has_examples(report) else []
            if report.share:
                lines.append(f"bring pods of version {report.stable} back: `penstock status` shows them")
            return [*lines, f"mend the model, and write a new `id` in `canary:` of {file}: it begins anew"]
        case RolloutState.PROMOTED:
            return [f'write `stable: "{report.version}"` in {file} and remove its `canary:`', _rollback(model)]
        case RolloutState.PAUSED:
            return [f"go on: `penstock rollout resume {model} --reason TEXT`", _rollback(model)]
        case RolloutState.WAITING:
            told = {"model": model, "version": report.version, "step": report.step + 1}
            return [_WAITS[wait].format(**told) for wait in report.waiting_for]
        case RolloutState.RUNNING:
            return [
                "nothing: it goes on by itself, and harm takes it back",
                f"keep it where it is: `penstock rollout pause {model} --reason TEXT`",
            ]


def _rollback(model: str) -> str:
    return f"take it back: `penstock rollout rollback {model} --reason TEXT`"


_WAITS = {
    "approval": "let it go on: `penstock rollout promote {model} --from-step {step} --reason TEXT`",
    "shadow": "see what its shadow differs in: `penstock shadow report {model}`",
    "traffic": (
        "send version {version} requests, or go on without: "
        "`penstock rollout promote {model} --from-step {step} --reason TEXT`"
    ),
    "capacity": "give version {version} more ready pods, or its next step a smaller share",
    "pods": "bring pods up: `penstock status` shows why they are not ready",
    "hold": "nothing: its time is not over",
    "verdict": "nothing: it is being judged",
}


def _has_examples(report: RolloutReport) -> bool:
    return report.verdict is not None and bool(report.verdict.candidate.examples)


def _ago(at_s: float, now_s: float) -> str:
    return f"{utc(at_s)[11:19]}Z ({length(max(0.0, now_s - at_s))} ago)"
