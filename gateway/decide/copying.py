"""Copying: what a request that is answered is copied for: shadows, recordings, labels that callers tell later.

It is decided after the version, and can change nothing of it. A tenant that does not consent is copied nowhere.
"""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.release import Arm, StickyKeys, is_in, is_left_out, subject_of
from gateway.decide.stage import Stage
from gateway.decide.tables import Caller
from policies.snapshot.release import Shadow
from policies.snapshot.route import Route
from policies.snapshot.samples import Sampling

# Why a request is kept as a sample, beside what policy names: by chance.
BY_RATE = "rate"
ERROR, SLOW, DRIFT, SHADOW_DIFFERENCE = "error", "slow", "drift", "shadow_difference"
_ERROR_STATUS = 500


class Copies(Struct, frozen=True):
    """What one request is copied for.

    Attributes:
        shadows: names of those that get a copy.
        is_recorded: it is kept for replays.
        is_labelled: its answer's label is kept until the caller tells the true one.
        sampling: how it may become a sample; None where it does not, or a shadow's answer alone can say so.
        is_drawn: it is one by chance.
    """

    shadows: tuple[str, ...] = ()
    is_recorded: bool = False
    is_labelled: bool = False
    sampling: Sampling | None = None
    is_drawn: bool = False

    @property
    def may_need_request(self) -> bool:
        """Whether anything of the request may be copied; a label needs its answer alone."""
        return self.needs_request("") or self.sampling is not None

    def needs_request(self, sampled: str) -> bool:
        """Whether anything of the request is copied, where ``sampled`` says why it is a sample."""
        return bool(self.shadows) or self.is_recorded or bool(sampled)

    def sampled(self, status: int, took_s: float, *, is_drifting: bool) -> str:
        """Return why the request is a sample, now that it is answered; "" where it is none."""
        if self.sampling is None:
            return ""
        triggers, slower_than_s = self.sampling.triggers, self.sampling.slower_than_s
        if status >= _ERROR_STATUS and ERROR in triggers:
            return ERROR
        if slower_than_s is not None and took_s > slower_than_s:
            return SLOW
        if is_drifting and DRIFT in triggers:
            return DRIFT
        return BY_RATE if self.is_drawn else ""

    def is_of_use(self, sampled: str) -> bool:
        """Whether anybody wants the answered request."""
        return self.needs_request(sampled) or self.is_labelled


class Copying(Struct, frozen=True):
    """What the requests of one caller for one model may be copied for.

    Attributes:
        recorded_share: of its requests.
        sampling: how they may become samples by what the gateway sees of them.
    """

    model: str
    shadows: tuple[Shadow, ...]
    recorded_share: float
    is_labelled: bool
    sampling: Sampling | None = None


def copying_of(route: Route, caller: Caller) -> Copying | None:
    """Return what a caller's requests may be copied for; None for nothing."""
    shadows: tuple[Shadow, ...] = ()
    recorded_share = 0.0
    sampling = None
    if caller.tenant.is_copied:
        shadows = tuple(shadow for shadow in route.shadows if not is_left_out(shadow.never, caller))
        if route.record is not None and not is_left_out(route.record.never, caller):
            recorded_share = route.record.sample
        sampling = _sampling_of(route, caller)
    is_labelled = route.feedback is not None
    if not shadows and not recorded_share and not is_labelled and sampling is None:
        return None
    return Copying(route.model, shadows, recorded_share, is_labelled, sampling)


def _sampling_of(route: Route, caller: Caller) -> Sampling | None:
    sampling = route.samples
    if sampling is None or is_left_out(sampling.never, caller):
        return None
    return sampling if sampling.rate or set(sampling.triggers) - {SHADOW_DIFFERENCE} else None


def is_compared(arm: Arm, stage: Stage | None) -> bool:
    """Whether shadows are compared with the answer: the stable version's, or the canary's once it has all callers.

    What a version that is still being tried says is no measure, and one that callers name is not what others get.
    """
    return arm is Arm.STABLE or (arm is Arm.CANARY and stage is not None and stage.share >= 1.0)


def copies_of(copying: Copying, version: str, keys: StickyKeys, draw: float, *, is_compared: bool) -> Copies | None:
    """Return what one request is copied for; None for nothing.

    Args:
        version: that answers it; a shadow of the same one has nothing to compare.
        draw: a number in [0, 1) by chance; each share that falls by chance is drawn from it anew, with its own salt.
    """
    chance = repr(draw)
    shadows: list[str] = []
    for shadow in copying.shadows if is_compared else ():
        if shadow.version == version:
            continue
        _, key = keys.first_of(shadow.sample_by)
        subject = subject_of(shadow.name, chance if key is None else key)
        if is_in(subject, shadow.sample):
            shadows.append(shadow.name)
    is_recorded = is_in(subject_of(f"{copying.model}/record", chance), copying.recorded_share)
    sampling = copying.sampling
    is_drawn = sampling is not None and is_in(subject_of(f"{copying.model}/samples", chance), sampling.rate)
    if sampling is not None and not is_drawn and not sampling.triggers:
        sampling = None
    if not shadows and not is_recorded and not copying.is_labelled and sampling is None:
        return None
    return Copies(tuple(shadows), is_recorded, copying.is_labelled, sampling, is_drawn)
