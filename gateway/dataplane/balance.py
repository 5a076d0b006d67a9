"""Balance: which of several pods gets a request: of a few drawn at random, the one with the least predicted work.

The work that a pod is predicted to have is its latency times what it has to do. The latency is a peak EWMA: what is
slower than it counts at once, what is faster little by little; and of a pod that says nothing for a while it returns to
what is usual among its siblings, so that a pod that was slow is tried again. A failure makes a pod count as slow for as
long as it asks to be left alone: else the pod that fails fastest would look the least loaded, and get every request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from math import exp
from typing import TypeVar

# Linkerd's values: the decay of a peak, the guess before the first answer, and how long a failure counts as slow.
DECAY_S = 10.0
FIRST_GUESS_S = 1.0
FAILED_S = 5.0
MOST_RETRY_AFTER_S = 300.0
# A pod that nobody has heard from for less than this is as it was last heard of: the rest would be lost in the noise.
_FRESH_S = 0.05
# An answer from memory may take no time at all; times nothing, any number of requests would be no work.
_LEAST_S = 0.0001
# What is usual follows the last hundred answers or so.
_USUAL_ANSWERS = 50
# A pod tells its queue with each answer; what others had there a second ago is gone.
_REPORT_HOLDS_S = 1.0
_US_PER_S = 1_000_000
# Knuth's generator, for choices beyond two: one draw decides them all.
_MULTIPLIER, _INCREMENT, _MASK = 6364136223846793005, 1442695040888963407, 2**64 - 1


_RETRY_AFTER = re.compile(rb"^retry-after:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE | re.MULTILINE)


def asked_pause_s(fields: bytes) -> float:
    """Return how long a pod that failed asks to be left alone, in its answer's header lines; the usual if it does not.

    A date is not read: a clock that differs from ours would make a pod useless, or a failure nothing.
    """
    asked = _RETRY_AFTER.search(fields)
    return float(asked[1]) if asked else FAILED_S


class Usual:
    """The latency that is usual among the pods of a version: a mean of their latest answers.

    Attributes:
        is_settled: there were so many answers that each further one weighs alike.
    """

    __slots__ = ("_answers", "is_settled", "latency_s")

    def __init__(self) -> None:
        self.latency_s = FIRST_GUESS_S
        self._answers = 0
        self.is_settled = False

    @property
    def is_known(self) -> bool:
        """Whether there was an answer yet, so that it is no guess."""
        return self._answers > 0

    def note(self, latency_s: float) -> None:
        """Take in one answer."""
        if latency_s < _LEAST_S:
            latency_s = _LEAST_S
        if not self.is_settled:
            self._answers += 1
            self.is_settled = self._answers >= _USUAL_ANSWERS
        self.latency_s += (latency_s - self.latency_s) / self._answers


class Load:
    """What one worker knows of the work of one pod.

    Attributes:
        outstanding: requests of this worker that it has and has not answered.
        latency_s: of its answers, as a peak EWMA when it was last heard of.
        slow_until_s: it failed, and counts as slow until then.
    """

    __slots__ = (
        "_heard_s",
        "_others_rows",
        "_reported_s",
        "_reported_work_s",
        "_row_work_s",
        "_sent_since_report",
        "_waited_from_s",
        "latency_s",
        "outstanding",
        "slow_until_s",
        "usual",
    )

    def __init__(self, usual: Usual) -> None:
        self.usual = usual
        self.outstanding = 0
        self.forget(-math.inf)

    def forget(self, now_s: float) -> None:
        """Know nothing of it, as of a pod that has just started; what is outstanding stays so."""
        self.latency_s = self.usual.latency_s
        self.slow_until_s = -math.inf
        self._heard_s = -math.inf
        self._waited_from_s = now_s
        self._reported_s = -math.inf
        self._reported_work_s = 0.0
        self._row_work_s = 0.0
        self._others_rows = 0
        self._sent_since_report = 0

    # --- what happens

    def sent(self, now_s: float) -> None:
        """It gets a request."""
        if not self.outstanding:
            self._waited_from_s = now_s
        self.outstanding += 1
        self._sent_since_report += 1

    def answered(self, now_s: float, latency_s: float, queued_rows: int = 0, ahead_us: int = 0) -> None:
        """It began to answer one, and may have told what else it has.

        Args:
            latency_s: from sending the request to the head of its answer.
            queued_rows: rows that it has from anybody, as it says.
            ahead_us: the work of these, in microseconds of its device.
        """
        if latency_s < _LEAST_S:
            latency_s = _LEAST_S
        usual = self.usual
        if usual.is_settled:  # ``note`` written out
            usual.latency_s += (latency_s - usual.latency_s) / _USUAL_ANSWERS
        else:
            usual.note(latency_s)
        # As ``_hear`` does it; this is done for every answer.
        excess_s = self.latency_s - latency_s
        self.latency_s = latency_s + excess_s * exp((self._heard_s - now_s) / DECAY_S) if excess_s > 0 else latency_s
        self._heard_s = self._reported_s = now_s
        self._sent_since_report = 0
        # The answered request is still outstanding here, and no longer there.
        others_rows = queued_rows - self.outstanding + 1
        self._others_rows = others_rows if others_rows > 0 else 0
        self._reported_work_s = work_s = ahead_us / _US_PER_S
        if queued_rows:
            self._row_work_s = work_s / queued_rows

    def failed(self, now_s: float, retry_after_s: float = FAILED_S) -> None:
        """It failed one, or had no room for it; ``retry_after_s`` is how long it asks to be left alone."""
        self._waited_from_s = now_s
        self.slow_until_s = max(self.slow_until_s, now_s + min(retry_after_s, MOST_RETRY_AFTER_S))

    def abandoned(self, now_s: float, waited_s: float) -> None:
        """Nobody waits for one any more; had it been answered now, it would have taken so long."""
        if waited_s > self.latency_s:
            self._hear(now_s, waited_s)

    def let_go(self) -> None:
        """One that it had is over, however it ended."""
        self.outstanding -= 1

    def _hear(self, now_s: float, latency_s: float) -> None:
        if latency_s < _LEAST_S:
            latency_s = _LEAST_S
        excess_s = self.latency_s - latency_s
        if excess_s > 0:
            latency_s += excess_s * math.exp((self._heard_s - now_s) / DECAY_S)
        self.latency_s = latency_s
        self._heard_s = now_s

    # --- what is predicted

    def score(self, now_s: float) -> float:
        """Return the predicted work that a further request would meet: seconds, times those who wait with it."""
        latency_s = self.latency_s
        quiet_s = now_s - self._heard_s
        if quiet_s > _FRESH_S:
            usual_s = self.usual.latency_s
            latency_s = usual_s + (latency_s - usual_s) * math.exp(-quiet_s / DECAY_S)
            if self.outstanding:
                # Its oldest request has waited at least so long: a pod that hangs gets worse and not forgotten.
                silent_s = min(quiet_s, now_s - self._waited_from_s)
                latency_s = max(latency_s, silent_s)
        slow_s = self.slow_until_s - now_s
        if slow_s > latency_s:
            latency_s = slow_s
        rows = self.outstanding + 1.0
        if self._others_rows:  # ``others_rows`` written out: each request asks this of two pods
            held = 1.0 - (now_s - self._reported_s) / _REPORT_HOLDS_S
            if held > 0.0:
                rows += self._others_rows * held
        return latency_s * rows

    def others_rows(self, now_s: float) -> float:
        """Return how many rows it has of others than this process, by what it said last; 0 a second after that."""
        held = 1.0 - (now_s - self._reported_s) / _REPORT_HOLDS_S
        return self._others_rows * held if held > 0.0 else 0.0

    def predicted_wait_s(self, now_s: float) -> float:
        """Return how long a further request would wait for its turn, by what the pod said last; 0 if it said nothing.

        The pod works off a second of what it had in a second; what it was sent since then comes on top.
        """
        work_s = self._reported_work_s - (now_s - self._reported_s)
        return (work_s if work_s > 0 else 0.0) + self._sent_since_report * self._row_work_s


AnyLoad = TypeVar("AnyLoad", bound=Load)


def choose(pods: Sequence[AnyLoad], choices: int, in_flight: int, draw: float, now_s: float) -> AnyLoad | None:
    """Return the least loaded of so many pods drawn at random; None when every pod has as many requests as it may.

    It looks at the drawn pods and at no other, so that it costs the same among two hundred as among two. Only when
    none of them has room are all looked at.

    Args:
        in_flight: most requests of this worker that one pod may have.
        draw: uniform in [0, 1).
    """
    count = len(pods)
    if choices != 2 or count < 2:
        return _chosen(pods, choices, in_flight, draw, now_s)
    i, j = divmod(int(draw * count * (count - 1)), count - 1)
    first, second = pods[i], pods[j + 1 if j >= i else j]
    if first.outstanding >= in_flight:
        return second if second.outstanding < in_flight else _least(pods, in_flight, now_s)
    if second.outstanding >= in_flight or first.score(now_s) <= second.score(now_s):
        return first
    return second


def _chosen(pods: Sequence[AnyLoad], choices: int, in_flight: int, draw: float, now_s: float) -> AnyLoad | None:
    """The same for one pod, or for any number of choices."""
    if len(pods) == 1:
        return pods[0] if pods[0].outstanding < in_flight else None
    if len(pods) > choices and (chosen := _least(_some(pods, choices, draw), in_flight, now_s)) is not None:
        return chosen
    return _least(pods, in_flight, now_s)


def _least(pods: Sequence[AnyLoad], in_flight: int, now_s: float) -> AnyLoad | None:
    free = [pod for pod in pods if pod.outstanding < in_flight]
    return min(free, key=lambda pod: pod.score(now_s)) if free else None


def _some(pods: Sequence[AnyLoad], choices: int, draw: float) -> list[AnyLoad]:
    """So many of them by chance; one may come twice, which chooses a little worse and costs less."""
    some, state = [], int(draw * 2**53)
    for _ in range(choices):
        state = (state * _MULTIPLIER + _INCREMENT) & _MASK
        some.append(pods[(state >> 32) % len(pods)])
    return some
