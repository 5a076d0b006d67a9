"""Verdict: same, different, worse, or not enough to say, from what a comparison has counted.

*Differs* and *same* are claims about the share that differs beyond noise, against the margin
(``telemetry.stats.sequential.DifferenceTest``); *worse* is said of a version that is proved to differ, and of which
paired answers prove that it fails more often, or is right less often, than the version that answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from typing import NamedTuple

from gateway.copies.compare.asking import level_for
from gateway.copies.compare.state import State
from gateway.copies.compare.wording import count, percent
from gateway.copies.reports import ShadowSays
from policies.snapshot.release import Shadow
from telemetry.stats.sequential import LARGEST, PairTest

# Failures and late labels are two ways to be worse; each gets half of alpha.
_WAYS_TO_BE_WORSE = 2


class Finding(NamedTuple):
    """What is said, and why.

    Attributes:
        needs: about so many more comparisons; 0 when it is decided, None when nobody can say.
    """

    says: ShadowSays
    because: str
    needs: int | None


def weigh(state: State) -> None:
    """Take both e-values as they are now into the largest they ever were: what was proved once stays proved.

    Each level has a test of its own; of tests that go on one after the other the product is an e-value too.
    """
    state.differs = max(state.differs, _product(test.differs for test in state.tests))
    state.same = max(state.same, _product(test.same for test in state.tests))


def find(shadow: Shadow, state: State) -> Finding:
    """Return what can be said now; ``weigh`` goes before."""
    verdict = shadow.verdict
    proved_at = 1.0 / verdict.alpha
    if not state.compared:
        return Finding(ShadowSays.NOT_ENOUGH, _nothing(state), None)
    absent = _never_there(shadow, state)
    if absent:
        return Finding(ShadowSays.NOT_ENOUGH, absent, None)
    if state.compared < verdict.at_least:
        missing = verdict.at_least - state.compared
        because = f"{_counts(state)}; no verdict before {count(verdict.at_least, 'comparison')}"
        return Finding(ShadowSays.NOT_ENOUGH, because, max(missing, _needed(shadow, state) or 0))
    if state.differs >= proved_at:
        return _different(shadow, state)
    if state.same >= proved_at:
        because = f"{_counts(state)}; {_beyond(state)}: within {percent(verdict.worse_above_noise)}, which is proved"
        return Finding(ShadowSays.SAME, f"{because} (e-value {state.same:.3g} of {proved_at:g}){_labels(state)}", 0)
    needs = _needed(shadow, state)
    more = f"about {needs:,} more comparisons are needed" if needs else "nobody can say how many more are needed"
    because = (
        f"{_counts(state)}; {_beyond(state)}, beside {percent(verdict.worse_above_noise)} that are allowed: {more}"
    )
    return Finding(ShadowSays.NOT_ENOUGH, because, needs)


def beyond_noise(state: State) -> float:
    """Return the share that differs less the share that noise explains, as far as can be seen."""
    known = [(test.alike + test.other_odd + test.stable_odd + test.neither_odd, test) for test in state.tests]
    seen = sum(requests for requests, _ in known)
    return sum(requests * test.beyond_noise for requests, test in known) / seen if seen else 0.0


def _product(e_values: Iterable[float]) -> float:
    values = list(e_values)
    # A bet that has lost everything has no logarithm.
    return exp(min(log(LARGEST), sum(map(log, values)))) if min(values) > 0.0 else 0.0


def _different(shadow: Shadow, state: State) -> Finding:
    verdict = shadow.verdict
    proved_at = 1.0 / verdict.alpha
    failures = PairTest(state.only_shadow_failed, state.only_stable_failed)
    labels = PairTest(state.only_stable_right, state.only_shadow_right)
    ways = []
    if failures.is_worse >= _WAYS_TO_BE_WORSE * proved_at:
        ways.append(
            f"it failed on {count(failures.worse, 'request')} that were answered well, and the other way round on "
            f"{failures.better:,}"
        )
    if labels.is_worse >= _WAYS_TO_BE_WORSE * proved_at:
        ways.append(
            f"of late labels {labels.worse:,} prove only the answer that was given right, "
            f"{labels.better:,} only the shadow's"
        )
    allowed = percent(verdict.worse_above_noise)
    because = (
        f"{_counts(state)}; {_beyond(state)}: more than the {allowed} that are allowed, which is proved "
        f"(e-value {state.differs:.3g} of {proved_at:g})"
    )
    if ways:
        return Finding(ShadowSays.WORSE, "; ".join([because, *ways]), 0)
    return Finding(ShadowSays.DIFFERS, because + _labels(state), 0)


def _nothing(state: State) -> str:
    if not state.not_copied:
        return "nothing was compared yet"
    why, number = max(state.not_copied.items(), key=lambda item: item[1])
    return f"nothing was compared yet; {count(number, 'request')} not copied: {why}"


def _never_there(shadow: Shadow, state: State) -> str:
    """Return a sentence about a part that no answer ever had, "" for none: it would be the same for ever."""
    for how, tally in zip(shadow.outputs, state.outputs, strict=True):
        if tally.absent and not tally.compared:
            return (
                f"{count(tally.absent, 'answer')} of {state.compared:,} have nothing at {how.path}, on "
                "neither side: is the path of this output right?"
            )
    return ""


def _counts(state: State) -> str:
    share = state.differ / state.compared
    return f"{state.differ:,} of {count(state.compared, 'answer')} differ ({percent(share)})"


def _beyond(state: State) -> str:
    """Return how much of what differs is the shadow's doing, and how that is known."""
    if not state.differ:
        return "nothing differs"
    # An estimate by few second answers may lie outside of what is possible: between none and all that differ.
    excess = percent(min(max(0.0, beyond_noise(state)), state.differ / state.compared))
    if not state.asked:
        return f"nobody was asked again, so all of it counts: {excess} beyond noise"
    if not state.repeats:
        return f"no second answer of the {state.asked:,} that were asked for has come"
    agreed = state.repeats - state.repeats_differ
    return (
        f"asked again about {state.repeats:,} of those, the version that answered agreed with itself {agreed:,} times: "
        f"about {excess} beyond noise"
    )


def _labels(state: State) -> str:
    told = state.both_right + state.only_stable_right + state.only_shadow_right + state.both_wrong
    if not told:
        return ""
    given, shadow = state.both_right + state.only_stable_right, state.both_right + state.only_shadow_right
    return (
        f"; of {count(told, 'late label')} {given:,} agree with the answer that was given, {shadow:,} with the shadow's"
    )


def _needed(shadow: Shadow, state: State) -> int | None:
    """Return about how many more comparisons decide, by the test that is going on now."""
    level = level_for(state.differ, state.compared, state.asked, shadow.repeat_stable)
    return state.tests[level].expected_needed(1.0 / shadow.verdict.alpha)
