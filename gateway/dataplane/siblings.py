"""Siblings: the pods of one version, which of them may get requests, and which one gets the next.

Who may is worked out when something changes and kept, so that a request costs a look at two pods and no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Generic, Protocol, TypeVar

from gateway.dataplane.balance import FAILED_S, Load, Usual, asked_pause_s, choose
from gateway.dataplane.health import Event, Health, Outcome, Standing, most_ejected, outcome_of
from model_pod.wire.status import PodState
from policies.snapshot.route import Balance, Eject

# A request that had better not try a pod which failed waits for another to do so, but not longer than this.
_PATIENCE_S = 1.0
# A pod that its server says is up keeps what it answered by key, whatever its inference process does.
_KEEPS_OUTCOMES = (PodState.READY, PodState.RESTARTING)
# So long the keys of a pod that is away wait for it. One that ran elsewhere meanwhile would run again once it is back.
KEYS_WAIT_S = 10.0
# A pod that served and is away is waited for so long before nothing is expected of it.
_STARTS_ANEW_WITHIN_S = 10.0
# A pod that says that it is leaving is believed for so long, unless the supervisor sees it go and come back before. It
# may have left and come back without the supervisor seeing it.
_LEAVES_FOR_S = KEYS_WAIT_S
# By these a pod is left out because of what it did; a trial that tells nothing in time only ends.
_FAILURES = (Event.TOO_MANY, Event.FAILED)
_PROBING = Standing.PROBING  # at hand for every answer: a name of a class of names is looked for anew each time
# 2**64 by the golden ratio: a product's upper bits, which decide, depend on every bit of what is multiplied.
_SPREAD, _MASK = 0x9E3779B97F4A7C15, 2**64 - 1


class NoneFree(StrEnum):
    """Why none of the siblings gets a request; the registry's names."""

    NO_POD_READY = "no_pod_ready"
    PODS_BUSY = "pods_busy"


class Family(Protocol):
    """Who has to know when one of the pods fails a request, or may be well again."""

    usual: Usual

    def after_failure(self, pod: Member, now_s: float) -> None: ...
    def step(self, pod: Member, event: Event, now_s: float) -> None: ...
    def look_again(self, now_s: float) -> None: ...


class Member(Load):
    """One pod as its siblings' balance and health know it.

    Attributes:
        state: as the supervisor's probe last saw it.
        was_ready: it has been ready at least once.
        away_since_s: when it was first not seen up; infinite while it is.
        leaving_until_s: it said that it is leaving, or was lost, and gets nothing until then if there is another.
        keys_gone_until_s: the same, but it takes what it keeps by key along, which one that was lost may still have.
        health: what this worker's own requests say of it.
        seed: its name as a number, equal in every worker.
    """

    __slots__ = (
        "_family",
        "away_since_s",
        "health",
        "keys_gone_until_s",
        "leaving_until_s",
        "seed",
        "state",
        "was_ready",
    )

    def __init__(self, name: str, family: Family) -> None:
        super().__init__(family.usual)
        self._family = family
        self.health = Health()
        self.state = PodState.STARTING
        self.was_ready = False
        self.away_since_s = math.inf
        self.leaving_until_s = self.keys_gone_until_s = -math.inf
        self.seed = _number(name.encode())

    def describe(self, state: PodState, *, was_ready: bool, now_s: float) -> None:
        """The supervisor saw it; one that went and came back may be well again, and is tried at once."""
        if state is PodState.READY and self.state is not PodState.READY:
            self.forget(now_s)
            self.leaving_until_s = self.keys_gone_until_s = -math.inf
            self._family.step(self, Event.RETURNED, now_s)
        if state in _KEEPS_OUTCOMES:
            self.away_since_s = math.inf
        elif self.away_since_s == math.inf:
            self.away_since_s = now_s
        self.state, self.was_ready = state, was_ready

    def leaves(self, now_s: float) -> None:
        """It says that it is leaving; the supervisor may see it soon."""
        is_news = now_s >= self.keys_gone_until_s
        self.leaving_until_s = self.keys_gone_until_s = now_s + _LEAVES_FOR_S
        if is_news:
            self._family.look_again(now_s)

    def was_lost(self, now_s: float) -> None:
        """Its connection ended unasked. Others are better now; but it may live, and know what has run by which key."""
        is_news = now_s >= self.leaving_until_s
        self.leaving_until_s = max(self.leaving_until_s, now_s + _LEAVES_FOR_S)
        if is_news:
            self._family.look_again(now_s)

    def is_ready(self, now_s: float) -> bool:
        """Whether it is one that requests go to, as far as it says itself."""
        return self.state is PodState.READY and now_s >= self.leaving_until_s

    def is_expected(self, now_s: float) -> bool:
        """Whether it serves, or is away for so short a time that it may just be starting anew."""
        if not self.was_ready or self.state is PodState.FAILED:
            return False
        return self.state in _KEEPS_OUTCOMES or now_s < self.away_since_s + _STARTS_ANEW_WITHIN_S

    @property
    def keys_wait_until_s(self) -> float:
        """Until when requests with a key that belongs to it go nowhere else."""
        if not self.was_ready or self.state in (PodState.FAILED, PodState.DRAINING):
            return -math.inf
        return math.inf if self.state in _KEEPS_OUTCOMES else self.away_since_s + KEYS_WAIT_S

    # --- what becomes of a request that it was sent; ``let_go`` comes on top, whatever became of it

    def answered(self, now_s: float, latency_s: float, queued_rows: int = 0, ahead_us: int = 0) -> None:
        """Its answer has begun, and says nothing against the pod."""
        Load.answered(self, now_s, latency_s, queued_rows, ahead_us)
        if self.health.worked(now_s) is _PROBING:
            self._family.step(self, Event.ANSWERED, now_s)

    def refused(self, now_s: float, latency_s: float, status: int, reason: str, fields: bytes = b"") -> None:
        """It answered with an error.

        Args:
            reason: of the registry, where the pod refused by one; "" otherwise.
            fields: header lines of the answer, in which it may ask to be left alone for a while.
        """
        match outcome_of(status, reason):
            case Outcome.WORKED:
                self.answered(now_s, latency_s)
            case Outcome.ROW_FAILED:
                super().answered(now_s, latency_s)
                self.health.row_failed(now_s)
                self._family.after_failure(self, now_s)
            case Outcome.NO_ROOM:
                super().failed(now_s, asked_pause_s(fields))
                self._family.step(self, Event.ANSWERED, now_s)
            case Outcome.BROKE:
                self.failed(now_s, asked_pause_s(fields))

    def broke_off(self, now_s: float, status: int, reason: str) -> None:
        """It ended an exchange before its time; why is the registry's ``reason``, with its status.

        That its caller's time was over or that its caller was too slow says nothing against it.
        """
        match outcome_of(status, reason):
            case Outcome.WORKED:
                self.health.worked(now_s)
                if self.health.standing is Standing.PROBING:
                    self._family.step(self, Event.ANSWERED, now_s)
            case Outcome.ROW_FAILED:
                self.health.row_failed(now_s)
                self._family.after_failure(self, now_s)
            case _:
                self.failed(now_s)

    def failed(self, now_s: float, retry_after_s: float = FAILED_S) -> None:
        """It could not be reached, was lost, or answered with nonsense."""
        super().failed(now_s, retry_after_s)
        self.health.broke(now_s)
        self._family.after_failure(self, now_s)


AnyMember = TypeVar("AnyMember", bound=Member)


class Siblings(Generic[AnyMember]):
    """The pods of one version.

    Attributes:
        members: all of them.
        usable: those that requests may go to now.
        usual: what is usual of their latencies.

    Args:
        on_ejected: called whenever one of them begins to be left out, or goes on to be after a trial.
    """

    __slots__ = (
        "_back_at_s",
        "_choices",
        "_eject",
        "_keepers",
        "_keepers_until_s",
        "_look_at_s",
        "_on_ejected",
        "members",
        "usable",
        "usual",
    )

    def __init__(self, on_ejected: Callable[[], None] = lambda: None) -> None:
        self._on_ejected = on_ejected
        self.members: Sequence[AnyMember] = ()
        self.usable: Sequence[AnyMember] = ()
        self.usual = Usual()
        self._keepers: Sequence[AnyMember] = ()
        self._keepers_until_s = math.inf
        self._choices = Balance().choices
        self._eject = Eject()
        self._look_at_s = math.inf
        self._back_at_s = math.inf

    def use(self, balance: Balance, eject: Eject) -> None:
        """Pick and eject by these rules from now on."""
        self._choices, self._eject = balance.choices, eject

    def replace(self, members: Sequence[AnyMember], now_s: float) -> None:
        """These are the pods from now on, as they have just been described."""
        self.members = members
        self.look_again(now_s)

    # --- who gets a request

    def pick(
        self, in_flight: int, draw: float, now_s: float, tried: Sequence[AnyMember] = (), may_probe: bool = True
    ) -> AnyMember | None:
        """Return the pod for the next attempt; None when there is none, see ``why_none``.

        Args:
            in_flight: most requests of this worker that one pod may have.
            draw: uniform in [0, 1).
            tried: those that had the request already.
            may_probe: it may be the one that tries a pod which failed, if another pod can have it after that.
        """
        if now_s >= self._look_at_s and (due := self._due(in_flight, now_s, tried, may_probe)) is not None:
            self.step(due, Event.PICKED, now_s)
            return due
        pods = [pod for pod in self.usable if pod not in tried] if tried else self.usable
        return choose(pods, self._choices, in_flight, draw, now_s)

    def pick_usual(self, in_flight: int, draw: float, now_s: float) -> AnyMember | None:
        """Do what ``pick`` does, unless there is a pod to be tried; None then, and where none has room."""
        return None if now_s >= self._look_at_s else choose(self.usable, self._choices, in_flight, draw, now_s)

    def pick_keyed(self, key: bytes, in_flight: int, now_s: float) -> AnyMember | None:
        """Return the pod that a request with this idempotency key belongs to; None when it has no room, or none is.

        Every worker finds the same one, and finds it again as long as the pod stays: it may have answered the request
        before. So what one worker thinks of a pod's health and load does not count here, and a pod that is busy, or
        away for a while, is not evaded.
        """
        if now_s >= self._keepers_until_s:
            self.look_again(now_s)
        pods = self._keepers
        if not pods:
            return None
        number = _number(key)
        weights = [(number ^ pod.seed) * _SPREAD & _MASK for pod in pods]
        owner = pods[weights.index(max(weights))]
        return owner if owner.outstanding < in_flight else None

    def why_none(self, tried: Sequence[AnyMember] = ()) -> NoneFree:
        """Say why no pod was picked."""
        return NoneFree.PODS_BUSY if any(pod not in tried for pod in self.usable) else NoneFree.NO_POD_READY

    def _due(self, in_flight: int, now_s: float, tried: Sequence[AnyMember], may_probe: bool) -> AnyMember | None:
        """Return a pod that is to be tried, if this request should."""
        if now_s >= self._back_at_s:
            self.look_again(now_s)
        for pod in self.members:
            health = pod.health
            if health.standing is Standing.HEALTHY or now_s < health.until_s or not pod.is_ready(now_s):
                continue
            if health.standing is Standing.PROBING:
                self.step(pod, Event.NO_VERDICT, now_s)
            is_this_one_s = may_probe or now_s >= health.until_s + _PATIENCE_S
            if is_this_one_s and pod.outstanding < in_flight and pod not in tried:
                return pod
        return None

    # --- who may

    def after_failure(self, pod: Member, now_s: float) -> None:
        """One of them failed a request: it may be time to do without it."""
        if pod.health.standing is Standing.PROBING:
            self.step(pod, Event.FAILED, now_s)
        elif pod.health.standing is Standing.HEALTHY:
            fails = pod.health.fails(self._eject, (one.health for one in self.members), now_s)
            if fails and self._can_do_without(pod, now_s):
                self.step(pod, Event.TOO_MANY, now_s)

    def step(self, pod: Member, event: Event, now_s: float) -> None:
        """Something happened to one of them."""
        if pod.health.step(event, self._eject, now_s):
            if pod.health.standing is Standing.EJECTED and event in _FAILURES:
                self._on_ejected()
            self.look_again(now_s)

    @property
    def ejected(self) -> int:
        """How many are up, and get nothing or a trial at most, because they failed requests."""
        return sum(pod.state is PodState.READY and pod.health.standing is not Standing.HEALTHY for pod in self.members)

    def _can_do_without(self, pod: Member, now_s: float) -> bool:
        ready = [one for one in self.members if one.is_ready(now_s)]
        ejected = sum(one.health.standing is not Standing.HEALTHY for one in ready)
        return pod.is_ready(now_s) and ejected < most_ejected(len(ready), self._eject.max_share)

    def look_again(self, now_s: float) -> None:
        """Work out who may get requests, and when that changes by itself.

        Ready pods come first. When there are none, a pod that was ready before keeps requests in its queue while its
        inference process restarts, or in its socket's backlog while its successor starts, which beats refusing them.
        """
        ready = [pod for pod in self.members if pod.is_ready(now_s)]
        out = sorted(
            (pod for pod in ready if pod.health.standing is not Standing.HEALTHY), key=lambda pod: pod.health.until_s
        )
        # So many of them are out that the rest cannot do without them any more: those that would be back first.
        for pod in out[: max(0, len(out) - most_ejected(len(ready), self._eject.max_share))]:
            pod.health.step(Event.NEEDED, self._eject, now_s)
        self.usable = tuple(pod for pod in ready if pod.health.standing is Standing.HEALTHY) or tuple(
            pod for pod in self.members if pod.was_ready and pod.state is not PodState.FAILED
        )
        leaving = (pod.leaving_until_s for pod in self.members if pod.leaving_until_s > now_s)
        self._back_at_s = min(leaving, default=math.inf)
        self._find_keepers(now_s)
        self._look_at_s = min((pod.health.until_s for pod in ready), default=math.inf)
        self._look_at_s = min(self._look_at_s, self._back_at_s)

    def _find_keepers(self, now_s: float) -> None:
        """Work out to whom keys belong, and until when; where nobody keeps anything, to whoever may get requests."""
        keep = (pod for pod in self.members if pod.keys_wait_until_s > now_s and now_s >= pod.keys_gone_until_s)
        self._keepers = tuple(keep) or self.usable
        # Where none of them keeps anything, time changes nothing of that.
        untils = (pod.keys_wait_until_s for pod in self._keepers if pod.keys_wait_until_s > now_s)
        self._keepers_until_s = min(min(untils, default=math.inf), self._back_at_s)


def _number(text: bytes) -> int:
    return int.from_bytes(blake2b(text, digest_size=8).digest())
