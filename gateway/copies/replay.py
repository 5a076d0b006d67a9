"""Replay: recorded requests go to a version that need not serve yet; its answers are compared with those recorded."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from gateway.control.events import Say, say
from gateway.copies.compare.answer import Answer
from gateway.copies.compare.comparison import Comparison
from gateway.copies.copied import Allowed, Asks, NotSent, Why
from gateway.copies.messages import AskReplay
from gateway.copies.privacy import NotRedactable, Redaction
from gateway.copies.recorded_model import Place
from gateway.copies.recordings import Recordings
from gateway.copies.reports import ReplayReport
from gateway.copies.segments import Recorded
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Shadow, ShadowLimits
from policies.snapshot.route import Route
from telemetry.logs.line import warning

RUNNING, DONE, CANCELLED, FAILED = "running", "done", "cancelled", "failed"
# Where no shadow says how its version may be used.
UNNAMED = Shadow("replay", "", 1.0, limits=ShadowLimits(in_flight=4))
GONE = "removed_meanwhile"
_TELL_EVERY_S = 0.5
_BUSY_LOOK_S = 0.05
# A pod that has answered may be away for as long as a model takes to load anew.
_POD_BACK_S = 60.0

Tell = Callable[[ReplayReport], None]


class CannotReplay(Exception):
    """Why a replay cannot begin, as a sentence."""


class Replays:
    """Replays that run, one of a model at most.

    Args:
        tell: how each stands, again and again until it is over.
    """

    def __init__(
        self,
        recordings: Recordings,
        asks: Asks,
        tell: Tell,
        say: Say = say,
        wall_s: Callable[[], float] = time.time,
        digest_key: bytes = b"",
    ) -> None:
        self._digest_key = digest_key
        self._recordings = recordings
        self._asks = asks
        self._tell = tell
        self._say = say
        self._wall_s = wall_s
        self._snapshot: Snapshot | None = None
        self._allowed = Allowed({})
        self._running: dict[str, tuple[int, asyncio.Task[str]]] = {}

    def use(self, snapshot: Snapshot) -> None:
        """Go by a generation from now on; what runs goes on as it began, with requests that may still be copied."""
        self._snapshot = snapshot
        self._allowed = Allowed(snapshot.tenants)

    def ask(self, asked: AskReplay) -> None:
        """Begin a replay, or cancel one; why it cannot begin is told as its failure."""
        if asked.is_cancel:
            self._cancel(asked.number)
            return
        try:
            replay = self._made(asked)
        except CannotReplay as why:
            self._tell(ReplayReport(asked.number, asked.model, asked.version, FAILED, str(why), 0, 0, 0, None))
            return
        task = asyncio.get_running_loop().create_task(replay.run())
        self._running[asked.model] = (asked.number, task)
        task.add_done_callback(lambda task: self._over(asked.model, replay, task))

    def _over(self, model: str, replay: Replay, task: asyncio.Task[str]) -> None:
        number, _ = self._running.pop(model)
        if task.cancelled():
            self._tell(replay.report(CANCELLED))
        elif (error := task.exception()) is not None:
            self._say(warning(f"replay {number} of {model} broke off: {error!r}"))
            self._tell(replay.report(FAILED, "it broke off; the gateway's events say why"))
        else:
            why_not = task.result()
            self._tell(replay.report(FAILED if why_not else DONE, why_not))

    async def stop(self) -> None:
        """Cancel all that run, and return once they have told so."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cancel(self, number: int) -> None:
        for running, task in self._running.values():
            if running == number:
                task.cancel()

    def _made(self, asked: AskReplay) -> Replay:
        if (running := self._running.get(asked.model)) is not None:
            raise CannotReplay(f"replay {running[0]} of {asked.model} is not over; cancel it or wait")
        route = self._snapshot.routes.get(asked.model) if self._snapshot is not None else None
        if route is None or self._snapshot is None:
            raise CannotReplay(f"no route is for a model {asked.model}")
        shadow = _shadow(route, asked)
        places = self._recordings.latest(asked.model, asked.most)
        if not places:
            why = "it is recorded, and nothing came yet" if route.record is not None else "its route has no `record`"
            raise CannotReplay(f"there are no recorded requests of {asked.model}: {why}")
        comparison = Comparison(shadow, asked.model, self._snapshot.generation, self._digest_key)
        recorded = self._recordings.count_of(asked.model)
        allows = lambda tenant: self._allowed.tenant(tenant, shadow.never)  # noqa: E731 - by what is in force then
        return Replay(asked, shadow, comparison, places, recorded, allows, self._asks, self._tell, self._wall_s)


def _shadow(route: Route, asked: AskReplay) -> Shadow:
    """Return the shadow whose comparison is used, as one of the version that is asked."""
    if asked.version not in route.versions:
        known = ", ".join(sorted(route.versions))
        raise CannotReplay(f"{route.model} has no version {asked.version}; it has {known}")
    if not asked.shadow:
        found = route.shadows[0] if route.shadows else UNNAMED
    else:
        named = {shadow.name: shadow for shadow in route.shadows}
        if asked.shadow not in named:
            known = ", ".join(sorted(named)) or "none"
            raise CannotReplay(f"{route.model} has no shadow {asked.shadow}; it has {known}")
        found = named[asked.shadow]
    # Answers were recorded once; how stable's vary of themselves is not known of them.
    return msgspec.structs.replace(found, version=asked.version, repeat_stable=0.0)


class Replay:
    """One replay, from its beginning to its end."""

    def __init__(
        self,
        asked: AskReplay,
        shadow: Shadow,
        comparison: Comparison,
        places: Sequence[Place],
        recorded: int,
        allows: Callable[[str], bool],
        asks: Asks,
        tell: Tell,
        wall_s: Callable[[], float],
    ) -> None:
        self._asked = asked
        self._shadow = shadow
        self._comparison = comparison
        self._left = deque(places)
        self._chosen = len(places)
        self._recorded = recorded
        self._allows = allows
        self._asks = asks
        self._tell = tell
        self._wall_s = wall_s
        self._redaction = Redaction(shadow.privacy.drop_headers, shadow.privacy.drop_fields)
        self._sent = 0
        self._told_s = 0.0
        self._is_pod_missing = False

    async def run(self) -> str:
        """Send every request that was chosen, some at once, and tell how it stands; return why it has failed, or ""."""
        self._tell(self.report(RUNNING))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._shadow.limits.in_flight, self._chosen)):
                group.create_task(self._send_some())
        return f"no pod of {self._asked.model}/{self._asked.version} is ready" if self._is_pod_missing else ""

    async def _send_some(self) -> None:
        while self._left and not self._is_pod_missing:
            recorded = self._left.popleft().read()
            if recorded is None:
                self._comparison.not_copied(GONE)
            else:
                await self._send(recorded)
            if abs(self._wall_s() - self._told_s) >= _TELL_EVERY_S:
                self._tell(self.report(RUNNING))

    async def _send(self, recorded: Recorded) -> None:
        asked, shadow = self._asked, self._shadow
        if not await self._has_pod():
            self._is_pod_missing = True
            self._comparison.not_copied(Why.NO_POD)
            return
        if not self._allows(recorded.answered.tenant):
            self._comparison.not_copied(Why.NO_CONSENT)
            return
        try:
            copied = self._redaction.copied(recorded.answered, recorded.body)
        except NotRedactable:
            self._comparison.not_copied(Why.NOT_REDACTABLE)
            return
        answer = await self._asks.ask(copied, asked.version, shadow.name, shadow.deadline_s)
        if isinstance(answer, NotSent):
            self._is_pod_missing = self._is_pod_missing or (answer.why is Why.NO_POD and not self._sent)
            self._comparison.not_copied(answer.why)
            return
        self._sent += 1
        answered = recorded.answered
        stable = Answer(
            answered.status, answered.answer_fields, recorded.answer_body, answered.took_s, answered.device_us
        )
        self._comparison.compared(answered, len(copied.body), stable, answer, self._wall_s())

    async def _has_pod(self) -> bool:
        """Wait for room, since callers may wait for these pods and nobody does for a replay; False: none is there."""
        away_s = 0.0
        while why := self._asks.why_not(self._asked.model, self._asked.version, self._shadow.limits.busy_share):
            away_s = away_s + _BUSY_LOOK_S if why is Why.NO_POD else 0.0
            if away_s and (not self._sent or away_s > _POD_BACK_S):
                return False
            await asyncio.sleep(_BUSY_LOOK_S)
        return True

    def report(self, state: str, because: str = "") -> ReplayReport:
        """Return how it stands."""
        now_s = self._told_s = self._wall_s()
        self._comparison.forget_others(self._allows)
        return ReplayReport(
            number=self._asked.number,
            model=self._asked.model,
            version=self._asked.version,
            state=state,
            because=because,
            recorded=self._recorded,
            chosen=self._chosen,
            sent=self._sent,
            report=self._comparison.report(now_s),
        )
