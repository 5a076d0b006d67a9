"""Reporting: what a comparison has come to, for people and for the canary that waits for it."""

from __future__ import annotations

from gateway.copies.compare import wording
from gateway.copies.compare.state import State
from gateway.copies.compare.tallies import OutputTally
from gateway.copies.compare.verdict import find, weigh
from gateway.copies.reports import Fourfold, LabelReport, LatencyReport, OutputReport, ShadowReport
from policies.snapshot.release import Compare, Shadow


def report(shadow: Shadow, model: str, generation: int, state: State, now_s: float) -> ShadowReport:
    """Return a shadow's report."""
    weigh(state)
    finding = find(shadow, state)
    return ShadowReport(
        model=model,
        name=shadow.name,
        version=shadow.version,
        generation=generation,
        since_s=state.since_s,
        at_s=now_s,
        says=finding.says,
        because=finding.because,
        compared=state.compared,
        differ=state.differ,
        repeats=state.repeats,
        repeats_differ=state.repeats_differ,
        harm=state.differs,
        safe=state.same,
        proved_at=1.0 / shadow.verdict.alpha,
        needs=finding.needs,
        answers=_fourfold(state),
        latency=_latency(state),
        labels=_labels(state),
        outputs=tuple(_output(*pair) for pair in zip(shadow.outputs, state.outputs, strict=True)),
        slices=state.slices.reports(),
        worst=tuple(reversed(state.worst.kept)),
        not_copied=dict(state.not_copied),
        device_s=state.device_us / 1e6,
        keep=shadow.privacy.keep,
        keep_s=shadow.privacy.keep_s,
    )


def _fourfold(state: State) -> Fourfold:
    return Fourfold(state.neither_failed, state.only_shadow_failed, state.only_stable_failed, state.both_failed)


def _labels(state: State) -> LabelReport:
    return LabelReport(state.both_right, state.only_stable_right, state.only_shadow_right, state.both_wrong)


def _latency(state: State) -> LatencyReport | None:
    """Return how long both took where both answered; None where that never was."""
    if not state.neither_failed:
        return None
    stable, shadow = state.stable_times, state.shadow_times
    return LatencyReport(
        stable.quantile_s(0.5), stable.quantile_s(0.99), shadow.quantile_s(0.5), shadow.quantile_s(0.99)
    )


def _output(how: Compare, tally: OutputTally) -> OutputReport:
    return OutputReport(
        path=how.path,
        kind=how.kind,
        metric=wording.metric(how, tally),
        compared=tally.compared,
        differ=tally.differ,
        unlike=tally.unlike,
        mean=tally.total / tally.measured if tally.measured else None,
        largest=tally.largest if tally.has_number else None,
    )
