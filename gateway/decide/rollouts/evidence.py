"""Evidence: what was seen of both arms in one step of a canary, as a judge needs it and a restart keeps it.

A sticky key counts once in a step, however many of its requests are bad: that a key is broken already is what makes its
next request bad, so only the first says something of the version. Dropping the keys that were seen is for the caller.
Of keys that are bad at the same moment, as when a pod stalls, one counts (``gateway.decide.rollouts.moments``); not so
of those whose answers late labels contradict, for these are told of whenever somebody comes to it.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from gateway.decide.rollouts.verdict import ArmSeen, Moment
from policies.snapshot.release import Judge
from telemetry.stats.sequential import RatioTest

MOMENTS = 240
"""At most so many e-values are kept: as many as a chart has points for."""

EXAMPLES = 5
"""So many trace ids of bad requests are kept of each arm: the latest."""


class Counts(Protocol):
    """Requests of one arm since it was last told: those that an objective counts, bad ones, and bad but for time."""

    @property
    def requests(self) -> int: ...
    @property
    def bad(self) -> int: ...
    @property
    def slow(self) -> int: ...


class ArmEvidence(Struct, frozen=True):
    """One arm.

    Attributes:
        last_request_s: when a request of it was last told of, seconds since the epoch; 0.0 for never.
    """

    seen: ArmSeen
    last_request_s: float = 0.0


class StepEvidence(Struct, frozen=True):
    """One step.

    Attributes:
        share: of the latest bad key, or the step's before there is one.
        ratio: of keys with a bad request.
        labels: of keys with an answer that a late label contradicts.
        every: each so many bad keys a moment is kept; doubled whenever there is no more room.
        history: e-values after every so many bad keys, the latest last.
    """

    step: int
    began_s: float
    share: float
    ratio: RatioTest
    stable: ArmEvidence
    canary: ArmEvidence
    every: int = 1
    history: tuple[Moment, ...] = ()
    labels: RatioTest = RatioTest.begun(1.2, 1.5)

    @property
    def harm(self) -> float:
        """The e-value of harm: the mean of what bad requests and what late labels say, which is one too.

        It is no product: an answer that failed has no label, so a version that fails all of them has no wrong ones, and
        the labels of the other would speak for it.
        """
        if not self.labels.events:
            return self.ratio.harm
        return (self.ratio.harm + self.labels.harm) / 2 if self.ratio.events else self.labels.harm

    @property
    def safe(self) -> float:
        """The e-value of safe: the least that those of both say that have anything to say."""
        return min((test.safe for test in (self.ratio, self.labels) if test.events), default=1.0)

    @property
    def counted(self) -> RatioTest:
        """How all bad keys fell, whatever they count."""
        ratio, labels = self.ratio, self.labels
        return replace(
            ratio,
            events=ratio.events + labels.events,
            canary_events=ratio.canary_events + labels.canary_events,
            expected=ratio.expected + labels.expected,
        )

    def expected_needed(self, harm_at: float, safe_at: float) -> int | None:
        """Return about how many more bad keys decide, should they fall as they did so far; None when none do."""
        tests = [test for test in (self.ratio, self.labels) if test.events] or [self.ratio]
        needed = [test.expected_needed(self.share, len(tests) * harm_at, safe_at) for test in tests]
        return max((count for count in needed if count is not None), default=None)


def begun(judge: Judge, version: str, step: int, share: float, now_s: float) -> StepEvidence:
    """Return what is known when a step begins: nothing.

    Args:
        version: the canary's; that which it is compared to is the judge's.
    """
    untested = RatioTest.begun(judge.harmful_above, judge.safe_below)
    return StepEvidence(
        step,
        now_s,
        share,
        untested,
        ArmEvidence(ArmSeen(judge.compare_to)),
        ArmEvidence(ArmSeen(version)),
        labels=untested,
    )


def is_of(evidence: StepEvidence, judge: Judge, version: str, step: int) -> bool:
    """Whether evidence was gathered for this step and this question; otherwise it has to begin anew."""
    return (
        evidence.step == step
        and evidence.canary.seen.version == version
        and evidence.stable.seen.version == judge.compare_to
        and evidence.ratio.harmful_above == judge.harmful_above
        and evidence.ratio.safe_below == judge.safe_below
    )


def not_after(evidence: StepEvidence, now_s: float) -> StepEvidence:
    """Return evidence without moments of the future, which a clock that was set back leaves: they are now."""
    stable, canary = (
        replace(arm, last_request_s=min(arm.last_request_s, now_s)) for arm in (evidence.stable, evidence.canary)
    )
    return replace(evidence, began_s=min(evidence.began_s, now_s), stable=stable, canary=canary)


def with_events(evidence: StepEvidence, stable: Counts, canary: Counts, now_s: float) -> StepEvidence:
    """Return evidence with requests that both arms had since."""
    return replace(
        evidence, stable=_counted(evidence.stable, stable, now_s), canary=_counted(evidence.canary, canary, now_s)
    )


def with_bad_key(
    evidence: StepEvidence,
    in_canary: bool,
    share: float,
    trace_id: str,
    is_wrong_label: bool,
    now_s: float,
    *,
    is_one_of_many: bool = False,
) -> StepEvidence:
    """Return evidence with one more bad key, which this step has not seen.

    Args:
        share: of the keys that were in the canary when its request was.
        trace_id: of that request; "" when it is not known.
        is_wrong_label: its answer is contradicted by a late label, whatever its status.
        is_one_of_many: others were bad at the same moment.
    """
    arm = _with_key(evidence.canary if in_canary else evidence.stable, trace_id, is_wrong_label)
    told = replace(evidence, share=share)
    if is_wrong_label:
        told = replace(told, labels=evidence.labels.seen(in_canary, share))
    else:
        told = replace(told, ratio=evidence.ratio.seen(in_canary, share, is_one_of_many=is_one_of_many))
    told = replace(told, canary=arm) if in_canary else replace(told, stable=arm)
    return _remembered(told, now_s)


def bad_keys(evidence: StepEvidence) -> int:
    """Return how many bad keys both arms had."""
    return evidence.stable.seen.bad_keys + evidence.canary.seen.bad_keys


def moment(evidence: StepEvidence, now_s: float) -> Moment:
    """Return the e-values as they are."""
    return Moment(now_s, bad_keys(evidence), evidence.harm, evidence.safe)


def _counted(arm: ArmEvidence, more: Counts, now_s: float) -> ArmEvidence:
    if not more.requests:
        return arm
    seen = arm.seen
    return ArmEvidence(
        replace(seen, requests=seen.requests + more.requests, bad=seen.bad + more.bad, slow=seen.slow + more.slow),
        now_s,
    )


def _with_key(arm: ArmEvidence, trace_id: str, is_wrong_label: bool) -> ArmEvidence:
    seen = arm.seen
    examples = (*seen.examples, trace_id)[-EXAMPLES:] if trace_id else seen.examples
    return replace(
        arm,
        seen=replace(
            seen,
            bad_keys=seen.bad_keys + 1,
            wrong_labels=seen.wrong_labels + is_wrong_label,
            examples=examples,
        ),
    )


def _remembered(evidence: StepEvidence, now_s: float) -> StepEvidence:
    """Return evidence with its e-values remembered, if they are due; one place is left for the judge's own moment."""
    if bad_keys(evidence) % evidence.every:
        return evidence
    history, every = (*evidence.history, moment(evidence, now_s)), evidence.every
    if len(history) >= MOMENTS:
        history, every = history[1::2], every * 2
    return replace(evidence, history=history, every=every)
