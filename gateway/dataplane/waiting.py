"""Waiting room: requests of one worker that found the pods of their version busy, each version's in a fair queue.

Whoever goes next is asked to try its pods, whenever a pod has answered somebody. Which pods those are it does not know,
but for a name where there is only one: while that one has no room, those that wait for it are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from gateway.dataplane.waited import Waited
from gateway.decide.decision import Decision, Refusal
from gateway.decide.fair_queue import Asked, FairQueue, Ticket
from policies.snapshot.limits import MAX_WAITING, Tier

# Requests of all versions that may wait in one worker, and bytes of their bodies.
MAX_WAITING_IN_ROOM = 8192
MAX_HELD_BYTES = 32 * 1024 * 1024
# From so much of its body on, a request's connection is not read: until then, a caller that leaves is noticed at once.
HELD_OF_ONE_BYTES = 64 * 1024


class Tried(Enum):
    """What came of a waiting request's trying its pods again."""

    SENT = auto()  # it went to a pod
    ENDED = auto()  # it was answered, because no pod is left
    NO_ROOM = auto()  # the pod, or all the pods, that it may go to have none


class Waiter(Protocol):
    """A request that waits."""

    def resume(self, now_s: float) -> Tried:
        """Try the pods again."""
        ...

    def lane(self, now_s: float) -> str:
        """Return the name of the only pod that it may go to; "" when any will do."""
        ...

    def refuse(self, refusal: Refusal) -> None:
        """End it with a refusal; it has no place any more."""
        ...


class WaitingRoom:
    """All that waits in one worker.

    Attributes:
        count: requests that wait; while it is 0, there is nothing to tell the room.
        held_bytes: what they hold of their bodies.
        waited: how long those waited that wait no more.

    Args:
        worker_count: of the gateway; bounds on what may wait are divided among them, rounded up.
        on_defect: takes an exception that one request's waiting ended with; the others' goes on.
    """

    def __init__(
        self, worker_count: int = 1, on_defect: Callable[[str, Exception], None] = lambda where, error: None
    ) -> None:
        self._worker_count = worker_count
        self._on_defect = on_defect
        self._queues: dict[tuple[str, str], FairQueue[Waiter]] = {}
        self._is_serving = False
        self._closed: Refusal | None = None
        self.count = 0
        self.held_bytes = 0
        self.waited = Waited()

    def enter(
        self,
        waiter: Waiter,
        decision: Decision,
        tier: Tier,
        deadline_s: float,
        cost: float,
        service_s: float,
        now_s: float,
    ) -> Ticket[Waiter] | Refusal:
        """Return the request's place, or why it gets none; another one may lose its place to it.

        Args:
            cost: in the unit of all others for this version.
            service_s: predicted time from its going to a pod to its answer; 0.0 when that is not known.
        """
        if self._closed is not None:
            return self._closed
        if self.count >= MAX_WAITING_IN_ROOM:
            return Refusal("pods_busy", f"{self.count} requests wait for pods, as many as may; try again shortly")
        asked = self._asked(decision, tier, deadline_s, cost, service_s, waiter.lane(now_s))
        offered = self._queue(decision.model, decision.version).offer(waiter, asked, now_s)
        if offered.ticket is None:
            assert offered.refusal is not None  # noqa: S101 - it is the one or the other
            return offered.refusal
        self.count += 1
        if offered.displaced is not None:
            refusal = self._queue(decision.model, decision.version).displaced_refusal(offered.displaced, now_s)
            self._forget(offered.displaced, now_s)
            offered.displaced.waiter.refuse(refusal)
        return offered.ticket

    def hold(self, ticket: Ticket[Waiter], byte_count: int, now_s: float) -> Refusal | None:
        """Count what came of a waiting request's body; where that is too much it loses its place, and is told why."""
        if not ticket.waits:
            return None
        if self.held_bytes + byte_count > MAX_HELD_BYTES:
            self.leave(ticket, now_s)
            message = (
                f"the bodies of waiting requests hold {MAX_HELD_BYTES} bytes, as much as they may; try again shortly"
            )
            return Refusal("pods_busy", message)
        ticket.held_bytes += byte_count
        self.held_bytes += byte_count
        return None

    def leave(self, ticket: Ticket[Waiter], now_s: float) -> None:
        """Give a place up: the caller left, or was answered otherwise; harmless when it is not there any more."""
        if ticket.waits:
            ticket.queue.leave(ticket, now_s)
            self._forget(ticket, now_s)

    def on_free(self, model: str, version: str, now_s: float) -> None:
        """A pod of the version has answered somebody."""
        queue = self._queues.get((model, version))
        if queue is not None:
            self._serve(queue, now_s)

    def turn(self, now_s: float) -> None:
        """End what has waited too long, and let the others try: their pods may be others than they were.

        Called by the tick, and when the supervisor says that the pods have changed.
        """
        for name, queue in list(self._queues.items()):
            self._serve(queue, now_s)
            if queue.is_forgotten(now_s):
                del self._queues[name]

    def close(self, refusal: Refusal, now_s: float) -> None:
        """End all waiting by a refusal, before others that end give somebody a place; who comes later gets it too."""
        self._closed = refusal
        for queue in self._queues.values():
            while (ticket := queue.first()) is not None:
                self.leave(ticket, now_s)
                self._refuse(ticket, refusal)

    def _serve(self, queue: FairQueue[Waiter], now_s: float) -> None:
        # Whoever is asked may be answered at once, which frees a place: this loop finds it, or the next tick does.
        if self._is_serving:
            return
        self._is_serving = True
        try:
            self._end_overdue(queue, now_s)
            self._fill(queue, now_s)
        finally:
            self._is_serving = False

    def _fill(self, queue: FairQueue[Waiter], now_s: float) -> None:
        """Send as many as there is room for; of each lane, one is asked in vain."""
        blocked: set[str] = set()
        while (ticket := queue.first(blocked)) is not None:
            tried, lane = self._try(ticket, now_s)
            if tried is Tried.SENT:
                self._sent(queue, ticket, now_s)
            elif tried is Tried.ENDED:
                self.leave(ticket, now_s)
            elif lane != ticket.lane:
                queue.change_lane(ticket, lane)
            else:
                blocked.add(lane)

    def _try(self, ticket: Ticket[Waiter], now_s: float) -> tuple[Tried, str]:
        """Return what came of it, and where it belongs now."""
        try:
            return ticket.waiter.resume(now_s), ticket.waiter.lane(now_s)
        except Exception as error:  # its deadline ends it; the others must not wait because of it
            self._on_defect("a waiting request's trying its pods", error)
            return Tried.ENDED, ""

    def _sent(self, queue: FairQueue[Waiter], ticket: Ticket[Waiter], now_s: float) -> None:
        if ticket.waits:
            queue.take(ticket, now_s)
            self._forget(ticket, now_s)

    def _end_overdue(self, queue: FairQueue[Waiter], now_s: float) -> None:
        for ticket, refusal in queue.expire(now_s):
            self._forget(ticket, now_s)
            self._refuse(ticket, refusal)

    def _refuse(self, ticket: Ticket[Waiter], refusal: Refusal) -> None:
        try:
            ticket.waiter.refuse(refusal)
        except Exception as error:  # the next one must be told all the same
            self._on_defect("the end of a request's waiting", error)

    def _forget(self, ticket: Ticket[Waiter], now_s: float) -> None:
        self.count -= 1
        self.waited.add(*ticket.asked.counted_as, now_s - ticket.since_s)
        self.held_bytes -= ticket.held_bytes
        ticket.held_bytes = 0

    def _queue(self, model: str, version: str) -> FairQueue[Waiter]:
        queue = self._queues.get((model, version))
        if queue is None:
            places = self._share_of(MAX_WAITING)
            queue = self._queues[model, version] = FairQueue(f"{model}/{version}", places)
        return queue

    def _asked(
        self, decision: Decision, tier: Tier, deadline_s: float, cost: float, service_s: float, lane: str
    ) -> Asked:
        return Asked(
            tenant=decision.tenant,
            priority=tier.priority,
            weight=tier.weight,
            cost=max(1.0, cost),
            service_s=service_s,
            most_waiting=self._share_of(tier.queue_length),
            longest_wait_s=tier.queue_wait_s,
            deadline_s=deadline_s,
            lane=lane,
            counted_as=(decision.model, tier.name),
        )

    def _share_of(self, bound: int) -> int:
        return math.ceil(bound / self._worker_count)
