"""Verdict: what is said of a canary at one moment, with everything that it was concluded from."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Says(StrEnum):
    """What a judge says of a canary."""

    HARM = "harm"
    SAFE = "safe"
    UNDECIDED = "undecided"
    NO_TRAFFIC = "no traffic"


class ArmSeen(Struct, frozen=True):
    """What was seen of one arm in one step.

    Attributes:
        requests: that an objective counts: good or bad.
        bad: of them.
        slow: of the bad ones, those that had a good status and came too late.
        bad_keys: sticky keys that had a bad request, each counted once.
        wrong_labels: of the bad keys, those whose answer a late label contradicts.
        examples: trace ids of its latest bad requests, at most five.
    """

    version: str
    requests: int = 0
    bad: int = 0
    slow: int = 0
    bad_keys: int = 0
    wrong_labels: int = 0
    examples: tuple[str, ...] = ()


class BurnSeen(Struct, frozen=True):
    """How fast the canary's own requests burn the error budget of the objective that they burn fastest.

    Attributes:
        rate: over ``over_s``; 1.0 spends the whole budget in the objective's period.
        requests: in that window, which may be too few to say anything.
        is_enough: there are enough of them.
        above: a rate above this is harm; None where policy names none.
    """

    objective: str
    rate: float
    over_s: float
    requests: int
    is_enough: bool
    above: float | None = None


class Moment(Struct, frozen=True, array_like=True):
    """The e-values at one moment.

    Attributes:
        at_s: seconds since the epoch.
        bad_keys: of both arms until then.
    """

    at_s: float
    bad_keys: int
    harm: float
    safe: float


class Verdict(Struct, frozen=True):
    """What is said of a canary, and why.

    Attributes:
        because: a sentence for people, with the numbers.
        harm, safe, within_budget: e-values; harm is proved at ``proved_at``, the others at ``safe_at``. The last is
            that the canary's bad rate lies within the error budget, which few or no bad events can prove.
        needs: about so many more bad keys until it is decided, should things go on as they are; 0 when it is decided,
            None when nobody can say.
        history: of the e-values in this step, thinned out to at most 240 moments.
    """

    model: str
    canary: str
    generation: int
    step: int
    share: float
    at_s: float
    says: Says
    because: str
    stable: ArmSeen
    candidate: ArmSeen
    harm: float
    safe: float
    within_budget: float
    proved_at: float
    needs: int | None
    burn: BurnSeen | None = None
    history: tuple[Moment, ...] = ()
    safe_at: float = 100.0
