"""Retry: whether a request that a pod did not answer is tried on another one, within a budget.

A request is sent again only where it cannot have run, or where its route says that running it twice does no harm. And
never for more than a share of the requests: when every pod fails, sending everything again would only keep them down.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from gateway.errors import PodFailed, PodUnreachable
from policies.snapshot.route import Retry, Route

# The start of a body that is kept until the answer begins, so that it can be sent again: Linkerd's size.
REPLAY_BYTES = 64 * 1024
_SLOTS = 10
# A model that is seldom asked may be asked again all the same: so often in ten seconds, whatever the share.
_AT_LEAST = 3
# An attempt that may have run is followed by one other at most, however many are left.
_MOST_RESETS = 1
# Why a pod of ours refuses a request that it let in nowhere.
_NEVER_RAN = frozenset({"queue_full", "pod_draining", "model_not_ready"})


class Failure(StrEnum):
    """How an attempt failed, in the words of policy; FINAL is what policy never tries again."""

    CONNECT = "connect"
    REFUSED = "refused"
    RESET = "reset-before-response"
    FINAL = ""


def failure_of_attempt(error: PodFailed) -> Failure:
    """Name the failure of an attempt without an answer."""
    if isinstance(error, PodUnreachable):
        return Failure.REFUSED if error.has_refused else Failure.CONNECT
    return Failure.RESET if error.reason == PodFailed.reason else Failure.FINAL


def failure_of_answer(reason: str) -> Failure:
    """Name the failure that an answer is, by the reason that the pod gives; FINAL for an answer that is none."""
    return Failure.REFUSED if reason in _NEVER_RAN else Failure.FINAL


class Attempts(Struct, frozen=True, gc=False):
    """What has become of a request so far.

    Attributes:
        tried: attempts made.
        resets: of them, those that may have run and were lost.
        answer_begun: the caller has some of an answer.
        body_in_hand: all of the body that has come is still here.
        deadline_s: when the caller's time is over.
    """

    tried: int
    resets: int
    answer_begun: bool
    body_in_hand: bool
    deadline_s: float


def may_retry(policy: Retry, failure: Failure, so_far: Attempts, now_s: float) -> bool:
    """Whether the request may be sent to another pod; the budget is asked after that."""
    if failure not in policy.on or so_far.answer_begun or not so_far.body_in_hand:
        return False
    if failure is Failure.RESET and so_far.resets > _MOST_RESETS:
        return False
    return so_far.tried <= policy.attempts and now_s < so_far.deadline_s


class RetryBudget:
    """Retries are at most a share of the requests of the last ten seconds."""

    __slots__ = ("_requests", "_requests_now", "_retries", "_share", "_slot", "_slot_ends_s")

    def __init__(self, share: float) -> None:
        self._share = share
        self._requests = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._slot = 0
        self._slot_ends_s = 1.0
        self._requests_now = 0  # of the present second, which are in no slot yet

    def use(self, share: float) -> None:
        """Allow this share from now on."""
        self._share = share

    def note_request(self, now_s: float) -> None:
        """A request came."""
        if now_s >= self._slot_ends_s:
            self._move_to(int(now_s))
        self._requests_now += 1

    def take(self, now_s: float) -> bool:
        """Spend one retry; False when there is none left."""
        self._move_to(int(now_s))
        most = max(self._share * sum(self._requests), _AT_LEAST) if self._share else 0
        if sum(self._retries) + 1 > most:
            return False
        self._retries[self._slot % _SLOTS] += 1
        return True

    def _move_to(self, slot: int) -> None:
        self._requests[self._slot % _SLOTS] += self._requests_now
        self._requests_now = 0
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            self._requests[passed % _SLOTS] = self._retries[passed % _SLOTS] = 0
        self._slot = slot
        self._slot_ends_s = slot + 1.0


class Ruling(StrEnum):
    """What becomes of a request whose attempt failed."""

    RETRY = "retry"
    GIVE_UP = "give up"
    NO_BUDGET = "no budget"


BUDGET_USED_UP = "; it was not tried on another pod, because the model's retry budget is used up"
"""What a refusal says besides why the attempt failed, when the ruling is NO_BUDGET."""


class Retries:
    """The retry policy and the budget of every model, in one worker.

    Attributes:
        granted: requests that were to be sent to another pod.
        refused: those that were not, because the budget was used up.
    """

    def __init__(self) -> None:
        self.granted = 0
        self.refused = 0
        self._policies: dict[str, Retry] = {}
        self._budgets: dict[str, RetryBudget] = {}

    def use(self, routes: Mapping[str, Route]) -> None:
        """Go by these routes from now on; what a budget has counted stays."""
        budgets = {model: self._budgets.get(model) or RetryBudget(0.0) for model in routes}
        for model, route in routes.items():
            budgets[model].use(route.retry.budget)
        self._policies = {model: route.retry for model, route in routes.items()}
        self._budgets = budgets

    def budget(self, model: str) -> RetryBudget | None:
        """Return the budget of a model, which stays the same as long as there is a route of that name."""
        return self._budgets.get(model)

    def note_request(self, model: str, now_s: float) -> None:
        """A request for this model goes to a pod for the first time."""
        budget = self._budgets.get(model)
        if budget is not None:
            budget.note_request(now_s)

    def replays(self, model: str) -> int:
        """Return how much of a request's body to keep for another attempt; 0 when there will be none."""
        policy = self._policies.get(model)
        return REPLAY_BYTES if policy is not None and policy.budget > 0 else 0

    def rule(self, model: str, failure: Failure, so_far: Attempts, now_s: float) -> Ruling:
        """Decide on the next attempt, and spend what it takes."""
        policy = self._policies.get(model)
        if policy is None or not may_retry(policy, failure, so_far, now_s):
            return Ruling.GIVE_UP
        if not self._budgets[model].take(now_s):
            self.refused += 1
            return Ruling.NO_BUDGET
        self.granted += 1
        return Ruling.RETRY
