"""Health: whether a pod that fails requests is left out, and when one request tries whether it works again.

What happens next is data: ``TRANSITIONS``. A pod that is left out is not gone: after a while one request goes to it,
and that one's answer decides. Whether the pod is ready at all is the supervisor's to say, and comes before all of this.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum

from policies.snapshot.route import Eject

# One request that tries a pod may take so long; then another one does.
PROBE_WITHIN_S = 10.0
# Success is counted over ten slots of a second; fewer answers than these decide nothing.
_SLOTS = 10
_MIN_ANSWERS = 20
# A pod fails too often when it fails half of its requests, and at least twice as many as its siblings: what all pods
# fail alike is the requests' fault or the model's, and leaving pods out would mend nothing.
_TOO_OFTEN = 0.5
_TIMES_SIBLINGS = 2.0
# Looking at all siblings costs; a pod that fails too often still fails the tenth time.
_LOOK_AT_EACH = 10
# Any term is at its longest by then, and two to the power of a year's ejections is no float.
_MOST_DOUBLINGS = 32


class Standing(Enum):
    """Whether a pod may get requests."""

    HEALTHY = "healthy"
    EJECTED = "ejected"  # it gets none
    PROBING = "probing"  # it got one, whose answer decides


class Event(Enum):
    """What changes a pod's standing."""

    ANSWERED = "answered"
    FAILED = "failed"
    TOO_MANY = "too many failures"  # in a row or of its requests, and its siblings can do without it
    PICKED = "picked"  # its time was over, and a request goes to it
    NO_VERDICT = "no verdict"  # the request that went to it told nothing in time
    NEEDED = "needed"  # its siblings cannot do without it
    RETURNED = "returned"  # the supervisor saw it go, and come back


class Term(Enum):
    """How long a new standing lasts before time changes it."""

    FOR_EVER = "for ever"
    LONGER = "longer"  # as long as policy says, and twice as long each further time
    AT_ONCE = "at once"
    A_PROBE = "a probe"


_HEALTHY, _EJECTED, _PROBING = Standing.HEALTHY, Standing.EJECTED, Standing.PROBING

TRANSITIONS: Mapping[tuple[Standing, Event], tuple[Standing, Term]] = {
    (_HEALTHY, Event.TOO_MANY): (_EJECTED, Term.LONGER),
    (_EJECTED, Event.PICKED): (_PROBING, Term.A_PROBE),
    (_EJECTED, Event.NEEDED): (_HEALTHY, Term.FOR_EVER),
    (_EJECTED, Event.RETURNED): (_EJECTED, Term.AT_ONCE),
    (_PROBING, Event.ANSWERED): (_HEALTHY, Term.FOR_EVER),
    (_PROBING, Event.FAILED): (_EJECTED, Term.LONGER),
    (_PROBING, Event.NO_VERDICT): (_EJECTED, Term.AT_ONCE),
    (_PROBING, Event.NEEDED): (_HEALTHY, Term.FOR_EVER),
}
"""What is not here changes nothing: the answers that an ejected pod still owes, for one, neither help nor harm it."""


class Outcome(Enum):
    """What the answer to one request says of the pod that gave it."""

    WORKED = "worked"  # whatever it thinks of the request
    ROW_FAILED = "row failed"  # the handler did; perhaps the request's fault, perhaps not
    NO_ROOM = "no room"  # it takes nothing now, and says so
    BROKE = "broke"


# Why a pod of ours refuses without having a fault.
_NO_ROOM = frozenset({"queue_full", "pod_draining", "model_not_ready"})
_CALLERS = frozenset({"deadline_exceeded", "deadline_exceeded_running"})


def outcome_of(status: int, reason: str) -> Outcome:
    """Say what an answer means.

    Args:
        reason: of the registry, where the pod refused by one; "" for what a handler or a foreign server chose.
    """
    if status < 500 or reason in _CALLERS:
        return Outcome.WORKED
    if reason in _NO_ROOM or status == 503:
        return Outcome.NO_ROOM
    return Outcome.BROKE if status in (502, 504) else Outcome.ROW_FAILED


class Lately:
    """How many of a pod's answers of the last ten seconds were failures.

    Attributes:
        slot_ends_s: the end of the present second.
        answers_now: answers in it so far.
    """

    __slots__ = ("_answers", "_failures", "_slot", "answers_now", "slot_ends_s")

    def __init__(self) -> None:
        self._answers = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._slot = 0
        self.slot_ends_s = 1.0
        self.answers_now = 0

    def note(self, failures: int, now_s: float) -> None:
        """Take in one answer, which is no failure or one."""
        if now_s >= self.slot_ends_s:
            self._move_to(int(now_s))
        self.answers_now += 1
        if failures:
            self._failures[self._slot % _SLOTS] += failures

    def counts(self, now_s: float) -> tuple[int, int]:
        """Return the answers, and those of them that were failures."""
        self._move_to(int(now_s))
        return sum(self._answers), sum(self._failures)

    def _move_to(self, slot: int) -> None:
        self._answers[self._slot % _SLOTS] += self.answers_now
        self.answers_now = 0
        for passed in range(max(self._slot + 1, slot - _SLOTS + 1), slot + 1):
            self._answers[passed % _SLOTS] = self._failures[passed % _SLOTS] = 0
        self._slot = slot
        self.slot_ends_s = slot + 1.0


class Health:
    """The standing of one pod, as one worker sees it.

    Attributes:
        until_s: an ejected pod gets a request then, a probe is given up then; infinite for a healthy one.
    """

    __slots__ = ("_failures", "_healthy_from_s", "_in_a_row", "_term_s", "_times", "lately", "standing", "until_s")

    def __init__(self) -> None:
        self.standing = _HEALTHY
        self.until_s = math.inf
        self.lately = Lately()
        self._failures = 0
        self._in_a_row = 0
        self._times = 0
        self._term_s = 0.0
        self._healthy_from_s = -math.inf

    def step(self, event: Event, eject: Eject, now_s: float) -> bool:
        """Let something happen; say whether the standing changed."""
        after = TRANSITIONS.get((self.standing, event))
        if after is None:
            return False
        was, (self.standing, term) = self.standing, after
        match term:
            case Term.FOR_EVER:
                self._healthy_from_s, self.until_s, self._in_a_row = now_s, math.inf, 0
            case Term.LONGER:
                self.until_s = now_s + self._next_term_s(eject, was, now_s)
            case Term.AT_ONCE:
                self.until_s = now_s
            case Term.A_PROBE:
                self.until_s = now_s + PROBE_WITHIN_S
        return True

    def _next_term_s(self, eject: Eject, was: Standing, now_s: float) -> float:
        """Twice the last one, unless it has been well since for as long as that one was."""
        if was is _HEALTHY and now_s - self._healthy_from_s > self._term_s:
            self._times = 0
        self._term_s = min(eject.for_s * 2.0 ** min(self._times, _MOST_DOUBLINGS), eject.at_most_s)
        self._times += 1
        return self._term_s

    def worked(self, now_s: float) -> Standing:
        """It answered; return its standing."""
        self._in_a_row = 0
        lately = self.lately
        if now_s < lately.slot_ends_s:  # ``note`` written out: this is done for every answer
            lately.answers_now += 1
        else:
            lately.note(0, now_s)
        return self.standing

    def row_failed(self, now_s: float) -> None:
        """It answered that the handler failed, so that it is there."""
        self._in_a_row = 0
        self._failures += 1
        self.lately.note(1, now_s)

    def broke(self, now_s: float) -> None:
        """It did not answer, or with nonsense."""
        self._in_a_row += 1
        self._failures += 1
        self.lately.note(1, now_s)

    def fails(self, eject: Eject, siblings: Iterable[Health], now_s: float) -> bool:
        """Whether it fails so much that it should be left out; ask after each failure."""
        if self._in_a_row >= eject.after_failures:
            return True
        return self._failures % _LOOK_AT_EACH == 0 and self._fails_too_often(siblings, now_s)

    def _fails_too_often(self, siblings: Iterable[Health], now_s: float) -> bool:
        answers, failures = self.lately.counts(now_s)
        if answers < _MIN_ANSWERS or failures < _TOO_OFTEN * answers:
            return False
        theirs = [one.lately.counts(now_s) for one in siblings if one is not self]
        their_answers, their_failures = (sum(counts) for counts in zip(*theirs, strict=True)) if theirs else (0, 0)
        # Counts and one comparison: a sibling that got little says little.
        return their_answers > 0 and their_failures * _TIMES_SIBLINGS * answers <= failures * their_answers


def most_ejected(ready: int, max_share: float) -> int:
    """Return how many of so many ready pods may be left out: never more than the share, nor the last one."""
    return max(0, min(math.floor(max_share * ready), ready - 1))
