"""Shadowing: what becomes of a request that was sampled for shadows: copied, sent when it is its turn, and compared.

Where an answer differs, the version that answered the caller is asked once more if the comparison wants it: that tells
noise from a difference. A shadow of any other words begins a queue of its own, so that nothing which waits was redacted
by rules that are no more; what was compared goes on if the words that it depends on are the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gateway.copies.budget import DeviceBudget, cost_us
from gateway.copies.compare.answer import Answer
from gateway.copies.compare.comparison import Comparison
from gateway.copies.copied import Allowed, Copied, NotSent, Why
from gateway.copies.kept import KeptShadow
from gateway.copies.messages import Answered
from gateway.copies.privacy import NotRedactable, Redaction
from gateway.copies.queue import Memory, Queue
from gateway.copies.reports import ShadowReport
from gateway.copies.sending import Sending
from gateway.dataplane.defects import OnDefect
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Shadow

# So long comparing goes on before the loop looks at its sockets again.
_TURN_S = 0.005
# Of its places in flight, what a shadow gives to repeats: these go to pods that callers wait for.
_REPEATS_SHARE = 1 / 8
# What a copy holds beside its bodies, about.
_HEAD_BYTES = 2048
COMPARED, FAILED, REPEATED, NOT_REPEATED = "compared", "failed", "repeated", "not_repeated"

Key = tuple[str, str]
"""A model and the name of its shadow."""
OnCopied = Callable[[Answered, str, Answer], None]
OnDifference = Callable[[Answered, Copied, Answer], None]
"""Takes a request, its copy, and the answer that its caller got, which a shadow's is not like."""


class _Job:
    """One copy, from its coming until it is compared.

    Attributes:
        is_repeat: it asks the version again that answered.
    """

    __slots__ = ("answered", "copied", "held_bytes", "is_repeat", "request_bytes", "stable")

    def __init__(
        self, answered: Answered, copied: Copied, request_bytes: int, stable: Answer, *, is_repeat: bool
    ) -> None:
        self.answered = answered
        self.copied = copied
        self.request_bytes = request_bytes
        self.stable = stable
        self.is_repeat = is_repeat
        self.held_bytes = len(copied.body) + len(stable.body) + len(stable.fields) + _HEAD_BYTES


class Lane:
    """One shadow: what waits for it, what is under way, and what it has come to.

    Attributes:
        comparison: of its answers with what callers got.
        counts: what became of its copies since the process started.
    """

    def __init__(self, shadow: Shadow, comparison: Comparison, budget: DeviceBudget, counts: Counter[str]) -> None:
        self.shadow = shadow
        self.comparison = comparison
        self.budget = budget
        self.counts = counts
        self.redaction = Redaction(shadow.privacy.drop_headers, shadow.privacy.drop_fields)
        self.copies: Queue[_Job] = Queue()
        self.repeats: Queue[_Job] = Queue()
        self.running_copies = self.running_repeats = 0
        self.is_over = False

    @property
    def most_repeats(self) -> int:
        """How many repeats may be under way at once."""
        return max(1, int(self.shadow.limits.in_flight * _REPEATS_SHARE))

    def drop(self, why: Why, *, is_repeat: bool = False) -> None:
        """Count one that is not compared."""
        if is_repeat:
            self.counts[NOT_REPEATED] += 1
            return
        self.counts[why] += 1
        self.comparison.not_copied(why)


class Shadowing:
    """All shadows of the generation in force.

    Args:
        on_copied: hears each answer of a shadow.
        on_difference: hears of each that is not like the one that the caller got.

    Attributes:
        changes: how often something has happened to what is kept.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sending: Sending,
        memory: Memory,
        on_defect: OnDefect,
        on_copied: OnCopied,
        digest_key: bytes = b"",
        on_difference: OnDifference = lambda *_: None,
    ) -> None:
        self._on_difference = on_difference
        self._loop = loop
        self._digest_key = digest_key
        self._sending = sending
        self._memory = memory
        self._on_defect = on_defect
        self._on_copied = on_copied
        self._generation = 0
        self._allowed = Allowed({})
        self._lanes: dict[Key, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._uncompared: deque[tuple[Lane, _Job, Answer]] = deque()
        self._is_comparing = False
        self.changes = 0

    # --- what policy says

    def use(self, snapshot: Snapshot, kept: Mapping[Key, KeptShadow]) -> None:
        """Go by this generation from now on; ``kept`` is of an earlier process."""
        self.changes += 1
        self._generation = snapshot.generation
        self._allowed = Allowed(snapshot.tenants)
        before, self._lanes = self._lanes, {}
        for model, route in snapshot.routes.items():
            for shadow in route.shadows:
                key = (model, shadow.name)
                lane = before.pop(key, None)
                if lane is None or lane.shadow != shadow:
                    self._end_lane(lane)
                    earlier = _kept_of(key, lane) if lane is not None else kept.get(key)
                    counts = lane.counts if lane is not None else Counter()
                    lane = self._lane_of(model, shadow, earlier, counts)
                lane.comparison.forget_others(partial(self._allowed.tenant, never=shadow.never))
                self._lanes[key] = lane
        for gone in before.values():
            self._end_lane(gone)

    def _lane_of(self, model: str, shadow: Shadow, earlier: KeptShadow | None, counts: Counter[str]) -> Lane:
        about = shadow, model, self._generation, self._digest_key
        if earlier is None:
            return Lane(shadow, Comparison(*about), DeviceBudget(shadow.limits), counts)
        comparison = Comparison.restored(earlier.comparison, *about)
        return Lane(shadow, comparison, DeviceBudget(shadow.limits, earlier.period, earlier.used_us), counts)

    def forget(self, model: str, name: str) -> None:
        """Begin anew with what was compared for a shadow; what its devices have spent stays spent."""
        lane = self._lanes.get((model, name))
        if lane is not None:
            self.changes += 1
            self._end_lane(lane)
            fresh = Comparison(lane.shadow, model, self._generation, self._digest_key)
            self._lanes[model, name] = Lane(lane.shadow, fresh, lane.budget, lane.counts)

    def _end_lane(self, lane: Lane | None) -> None:
        if lane is not None:
            self._end_queues(lane)
            lane.is_over = True

    def comparison_of(self, model: str, name: str) -> Comparison | None:
        """Return what a shadow was compared to be; None when there is none of that name."""
        lane = self._lanes.get((model, name))
        return lane.comparison if lane is not None else None

    # --- what comes

    def take(self, answered: Answered, body: bytes, answer: Answer) -> None:
        """Take a request with the answer that its caller got."""
        self.changes += len(answered.shadows)
        for name in answered.shadows:
            lane = self._lanes.get((answered.model, name))
            if lane is not None:  # else policy has changed, and nobody asks for it any more
                self._offer(lane, answered, body, answer)

    def _offer(self, lane: Lane, answered: Answered, body: bytes, answer: Answer) -> None:
        why = self._why_not(lane, answered, is_repeat=False)
        if why is not None:
            lane.drop(why)
            return
        try:
            copied = lane.redaction.copied(answered, body)
        except NotRedactable:
            lane.drop(Why.NOT_REDACTABLE)
            return
        self._put(lane, _Job(answered, copied, len(body), answer, is_repeat=False))

    def _put(self, lane: Lane, job: _Job) -> None:
        """Let one wait for its turn."""
        if not self._memory.take(job.held_bytes):
            lane.drop(Why.QUEUE_FULL, is_repeat=job.is_repeat)
        elif not (lane.repeats if job.is_repeat else lane.copies).put(job):
            self._memory.give(job.held_bytes)
            lane.drop(Why.QUEUE_FULL, is_repeat=job.is_repeat)
        else:
            self._pump(lane)

    def _why_not(self, lane: Lane, answered: Answered, *, is_repeat: bool) -> Why | None:
        """Return why a request is not copied just now; asked when it comes, and again when it is its turn."""
        shadow = lane.shadow
        if not self._allowed(answered, shadow.never):
            return Why.NO_CONSENT
        if not lane.budget.has_room(time.time()):
            return Why.BUDGET
        version = answered.version if is_repeat else shadow.version
        return self._sending.why_not(answered.model, version, shadow.limits.busy_share)

    # --- what is sent

    def _pump(self, lane: Lane) -> None:
        """Send as many as may be under way."""
        while lane.copies and lane.running_copies < lane.shadow.limits.in_flight and not lane.is_over:
            if self._send(lane, lane.copies.take()):
                lane.running_copies += 1
        while lane.repeats and lane.running_repeats < lane.most_repeats and not lane.is_over:
            if self._send(lane, lane.repeats.take()):
                lane.running_repeats += 1

    def _send(self, lane: Lane, job: _Job) -> bool:
        why = self._why_not(lane, job.answered, is_repeat=job.is_repeat)
        if why is not None:
            self._memory.give(job.held_bytes)
            lane.drop(why, is_repeat=job.is_repeat)
            return False
        task = self._loop.create_task(self._run(lane, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _run(self, lane: Lane, job: _Job) -> None:
        version = job.copied.version if job.is_repeat else lane.shadow.version
        outcome: Answer | NotSent = NotSent(Why.GONE)
        try:
            outcome = await self._sending.ask(job.copied, version, lane.shadow.name, lane.shadow.deadline_s)
        except Exception as error:  # whatever becomes of one, its place is free again
            self._on_defect("a copy", error)
        finally:
            if job.is_repeat:
                lane.running_repeats -= 1
            else:
                lane.running_copies -= 1
            self._settle(lane, job, outcome)
            self._pump(lane)

    def _settle(self, lane: Lane, job: _Job, outcome: Answer | NotSent) -> None:
        if isinstance(outcome, NotSent):
            self._memory.give(job.held_bytes)
            lane.drop(outcome.why, is_repeat=job.is_repeat)
            return
        self.changes += 1
        lane.budget.spend(cost_us(outcome.device_us, outcome.took_s), time.time())
        if not self._memory.take(len(outcome.body)):
            self._memory.give(job.held_bytes)
            lane.drop(Why.QUEUE_FULL, is_repeat=job.is_repeat)
            return
        job.held_bytes += len(outcome.body)
        if job.is_repeat:
            lane.counts[REPEATED] += 1
        else:
            lane.counts[FAILED if outcome.is_failed else COMPARED] += 1
            self._on_copied(job.answered, lane.shadow.name, outcome)
        self._uncompared.append((lane, job, outcome))
        if not self._is_comparing:
            self._is_comparing = True
            self._loop.call_soon(self._compare)

    # --- what is compared

    def _compare(self) -> None:
        """Compare for a while; what came meanwhile is read before the next turn."""
        until_s = time.monotonic() + _TURN_S
        while self._uncompared:
            lane, job, answer = self._uncompared.popleft()
            self._memory.give(job.held_bytes)
            # Of one that was under way when its tenant took its consent back, nothing is kept.
            if not lane.is_over and self._allowed(job.answered, lane.shadow.never):
                try:
                    self._compare_one(lane, job, answer)
                except Exception as error:  # of one answer
                    self._on_defect("a comparison", error)
            if time.monotonic() >= until_s:
                break
        self._is_comparing = bool(self._uncompared)
        if self._is_comparing:
            self._loop.call_soon(self._compare)

    def _compare_one(self, lane: Lane, job: _Job, answer: Answer) -> None:
        now_s = time.time()
        if job.is_repeat:
            lane.comparison.repeated(job.answered, job.stable, answer, now_s)
            return
        before = lane.comparison.differ
        if lane.comparison.compared(job.answered, job.request_bytes, job.stable, answer, now_s):
            self._put(lane, _Job(job.answered, job.copied, job.request_bytes, job.stable, is_repeat=True))
        if lane.comparison.differ > before:
            self._on_difference(job.answered, job.copied, job.stable)

    # --- what is told and kept

    def reports(self, now_s: float) -> tuple[ShadowReport, ...]:
        """Return what every shadow has come to."""
        return tuple(lane.comparison.report(now_s) for lane in self._lanes.values())

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Return by model and shadow what became of copies."""
        told: dict[str, dict[str, dict[str, int]]] = {}
        for (model, name), lane in self._lanes.items():
            told.setdefault(model, {})[name] = {str(what): count for what, count in lane.counts.items()}
        return told

    def kept(self) -> Sequence[KeptShadow]:
        """Return what is to be there again after a restart."""
        return [_kept_of(key, lane) for key, lane in self._lanes.items()]

    async def drain(self, within_s: float) -> None:
        """Take no more turns; let what is under way end, if it does in time."""
        for lane in self._lanes.values():
            self._end_queues(lane)
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=within_s)
        for task in tuple(self._tasks):
            task.cancel()

    def _end_queues(self, lane: Lane) -> None:
        for queue in (lane.copies, lane.repeats):
            while queue:
                job = queue.take()
                self._memory.give(job.held_bytes)
                lane.drop(Why.GONE, is_repeat=job.is_repeat)


def _kept_of(key: Key, lane: Lane) -> KeptShadow:
    return KeptShadow(*key, lane.budget.period, lane.budget.used_us, lane.comparison.kept())
