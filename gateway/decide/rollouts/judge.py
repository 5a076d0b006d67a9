"""Judge: what the evidence of a step says of a canary, in numbers and in a sentence.

Harm wins over everything. No traffic is a state of its own, and neither good nor bad. Each step gathers evidence anew,
for a key that is broken whatever the version would otherwise count again in every step, on the side that it is on; so
each has its part of the accepted chance of a false alarm, and harm is proved at the number of steps over ``alpha``.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gateway.decide.rollouts.evidence import StepEvidence, moment
from gateway.decide.rollouts.verdict import ArmSeen, BurnSeen, Says, Verdict
from policies.snapshot.release import Canary
from telemetry.stats.sequential import BudgetTest

SAFE_FROM_SHARE = 0.25
"""Below it, versions as good as each other take more than a thousand bad keys to be told apart from harmful ones: such
steps can prove harm, not safety. At 25 % some three hundred are enough."""

LEANS_TO_HARM = 10.0
"""From this e-value of harm on, which is called strong evidence (Jeffreys, 1961), a rate that lies within the error
budget says nothing: a canary much worse than stable may well do that."""


def requires_safe(step_share: float) -> bool:
    """Whether a step of this share is passed only when the canary is proved safe, rather than not proved harmful."""
    return SAFE_FROM_SHARE <= step_share < 1.0


def harm_proved_at(canary: Canary) -> float:
    """Return the e-value that proves harm; steps that leave nothing to compare with have no part in it."""
    return max(1, sum(step.share < 1.0 for step in canary.steps)) / canary.judge.alpha


def judge(
    canary: Canary,
    model: str,
    generation: int,
    evidence: StepEvidence,
    budget: float | None,
    burn: BurnSeen | None,
    now_s: float,
) -> Verdict:
    """Return what is said of a canary now.

    Args:
        budget: share of its requests that its objective lets be bad; None without one.
        burn: None where it is not measured, or not held against it.
    """
    findings = _found(canary, evidence, budget, burn, now_s)
    says = findings.says
    return Verdict(
        model,
        canary.id,
        generation,
        evidence.step,
        evidence.share,
        now_s,
        says,
        " ".join(_sentences(findings, says)),
        evidence.stable.seen,
        evidence.canary.seen,
        findings.harm,
        findings.safe,
        findings.within,
        findings.harm_at,
        findings.needs,
        burn,
        (*evidence.history, moment(evidence, now_s)),
        findings.safe_at,
    )


class _Findings(Struct, frozen=True):
    """What is asked of the evidence, answered.

    Attributes:
        harm, safe: e-values of the ratio.
        within: e-value of "its bad rate lies within the budget"; 1.0, which says nothing, without a budget.
        clean_needed: requests of the canary until that is proved; None when it never is.
        silent_s: since its last request, or since the step began.
    """

    canary: Canary
    evidence: StepEvidence
    harm: float
    safe: float
    harm_at: float
    safe_at: float
    budget: float | None
    within: float
    clean_needed: int | None
    burn: BurnSeen | None
    silent_s: float

    @property
    def burns(self) -> bool:
        above = self.canary.judge.burn_above
        return above is not None and self.burn is not None and self.burn.is_enough and self.burn.rate > above

    @property
    def is_within(self) -> bool:
        return self.within >= self.safe_at and self.harm < LEANS_TO_HARM

    @property
    def says(self) -> Says:
        if self.harm >= self.harm_at or self.burns:
            return Says.HARM
        if self.silent_s >= self.canary.judge.no_traffic_s:
            return Says.NO_TRAFFIC
        if self.safe >= self.safe_at or self.is_within:
            return Says.SAFE
        return Says.UNDECIDED

    @property
    def needs(self) -> int | None:
        match self.says:
            case Says.HARM | Says.SAFE:
                return 0
            case Says.NO_TRAFFIC:
                return None
        return self.evidence.expected_needed(self.harm_at, self.safe_at)


def _found(
    canary: Canary, evidence: StepEvidence, budget: float | None, burn: BurnSeen | None, now_s: float
) -> _Findings:
    safe_at = 1.0 / canary.judge.alpha
    seen = evidence.canary.seen
    # Wrong labels are told of some answers, and counted once for each key: they say nothing of a rate.
    has_rate = budget is not None and 0.0 < budget < 1.0 and not seen.wrong_labels
    test = BudgetTest(budget, seen.requests, seen.bad) if has_rate and budget is not None else None
    return _Findings(
        canary,
        evidence,
        evidence.harm,
        evidence.safe,
        harm_proved_at(canary),
        safe_at,
        budget,
        test.within if test else 1.0,
        test.expected_needed(safe_at) if test else None,
        burn,
        now_s - max(evidence.began_s, evidence.canary.last_request_s),
    )


# --- sentences


def _sentences(found: _Findings, says: Says) -> Iterator[str]:
    match says:
        case Says.HARM:
            yield from _of_harm(found)
        case Says.SAFE:
            yield _of_safety(found)
        case Says.NO_TRAFFIC:
            yield _of_silence(found)
        case Says.UNDECIDED:
            yield from _of_doubt(found)
    stable, candidate = found.evidence.stable.seen, found.evidence.canary.seen
    yield f"Version {candidate.version}: {_arm(candidate)}. Version {stable.version}: {_arm(stable)}."


def _of_harm(found: _Findings) -> Iterator[str]:
    rule, version = found.canary.judge, found.canary.version
    if found.harm >= found.harm_at:
        yield (
            f"Harm: version {version} has bad answers for more than {rule.harmful_above:g} times as many keys as"
            f" version {rule.compare_to}{_seen_ratio(found)} (e-value {_number(found.harm)}, proved at"
            f" {_number(found.harm_at)})."
        )
    if found.burns and found.burn:
        yield (
            f"Harm: version {version} burns the error budget of {found.burn.objective} {found.burn.rate:.3g} times as"
            f" fast as allowed, over {_span(found.burn.over_s)} and {found.burn.requests:,} requests;"
            f" the limit is {rule.burn_above:g}."
        )


def _of_safety(found: _Findings) -> str:
    rule, version = found.canary.judge, found.canary.version
    if found.safe >= found.safe_at:
        return (
            f"Safe: version {version} has bad answers for less than {rule.safe_below:g} times as many keys as"
            f" version {rule.compare_to}{_seen_ratio(found)} (e-value {_number(found.safe)}, proved at"
            f" {_number(found.safe_at)})."
        )
    return (
        f"Safe: too few answers are bad to compare versions by, but those of version {version} lie within the error"
        f" budget of {_percent(found.budget or 0.0)} (e-value {_number(found.within)}, proved at"
        f" {_number(found.safe_at)})."
    )


def _of_silence(found: _Findings) -> str:
    version = found.canary.version
    since = "since this step began" if not found.evidence.canary.last_request_s else "since its last one"
    return (
        f"No traffic: version {version} had no request for {_span(found.silent_s)}, {since}."
        " That makes it neither good nor bad."
    )


def _of_doubt(found: _Findings) -> Iterator[str]:
    """Say what is missing: bad keys, or clean requests, whatever applies."""
    if not 0.0 < found.evidence.share < 1.0:
        yield "Undecided: all keys are on one version, so that there is nothing to compare it with."
        return
    needs, clean = found.needs, found.clean_needed
    ways = [f"about {_keys(needs, 'more ')} of both versions"] if needs else []
    if clean and found.harm < LEANS_TO_HARM:
        ways.append(f"about {clean:,} more requests of version {found.canary.version} as good as those so far")
    if ways:
        yield f"Undecided: needs {', or '.join(ways)}."
    else:
        yield (
            f"Undecided: version {found.canary.version} lies between what is called harmful and what is called safe"
            f"{_seen_ratio(found)}, and more of the same will not tell."
        )
    if _step_share(found) < SAFE_FROM_SHARE:
        yield f"A step below {_percent(SAFE_FROM_SHARE)} goes on without: it is enough that no harm is proved."


def _step_share(found: _Findings) -> float:
    steps = found.canary.steps
    return steps[found.evidence.step].share if found.evidence.step < len(steps) else 1.0


def _seen_ratio(found: _Findings) -> str:
    """Say how many bad keys are the canary's, and how many would be if both were equally good."""
    ratio = found.evidence.counted
    if not ratio.events:
        return ""
    own = f": {ratio.canary_events:,} of {ratio.events:,} bad keys, where {ratio.expected:,.1f} would be its part"
    return own if ratio.ratio is None else f"{own}, about {ratio.ratio:.2g} times as often"


def _arm(seen: ArmSeen) -> str:
    slow = f" ({seen.slow:,} slow)" if seen.slow else ""
    wrong = f" ({seen.wrong_labels:,} by late labels)" if seen.wrong_labels else ""
    return f"{seen.bad:,} bad of {seen.requests:,} requests{slow}, {_keys(seen.bad_keys)}{wrong}"


def _keys(count: int, more: str = "") -> str:
    return f"{count:,} {more}bad {'key' if count == 1 else 'keys'}"


def _number(value: float) -> str:
    if value >= 1e6:
        return "over a million"
    return f"{value:,.0f}" if value >= 100.0 else f"{value:.2g}"


def _percent(share: float) -> str:
    return f"{100.0 * share:g} %"


def _span(seconds: float) -> str:
    if seconds >= 5400.0:
        return f"{seconds / 3600.0:.3g} h"
    return f"{seconds / 60.0:.3g} min" if seconds >= 90.0 else f"{seconds:.0f} s"
