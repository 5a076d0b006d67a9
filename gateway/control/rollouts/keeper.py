"""Keeps rollouts going: once a second the judge speaks, the state machine moves, and workers are told.

A revision is kept before workers are told of it, so that a start knows all that they ever did. One exception: a share
that falls is told even while it cannot be kept, and kept as soon as that can be, for harm does not wait for a disk.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from gateway.control.audit.log import FILES, GATEWAY, AuditLog
from gateway.control.audit.record import Change
from gateway.control.events import Say
from gateway.control.messages import FromWorker, Releases, Tally, TrialEvents
from gateway.control.pod_table import PodTable
from gateway.control.rollout_reports import TransitionReport
from gateway.control.rollouts.gathering import Gathering
from gateway.control.rollouts.loads import Loads
from gateway.control.rollouts.sights import burn_seen, ready_pods, smallest_budget
from gateway.control.rollouts.store import (
    FILE_NAME,
    MAX_TRANSITIONS,
    Kept,
    KeptRollout,
    Overtaken,
    RolloutStore,
    StoreDamaged,
    StoreUnavailable,
    Unsaved,
)
from gateway.control.rollouts.words import action_of, detail_of, event_line, gone_line, subject_of, transition
from gateway.control.slo_counts import SloCounts
from gateway.control.slo_keeper import SET_ASIDE, set_aside
from gateway.control.worker_process import WorkerProcess
from gateway.control.workers import WorkerListener
from gateway.copies.messages import LabelEvent
from gateway.decide.rollouts.evidence import not_after as evidence_not_after
from gateway.decide.rollouts.judge import judge
from gateway.decide.rollouts.machine import Command, Order, advance, follow, obey
from gateway.decide.rollouts.progress import POLICY, Progress, RolloutState, Sight, not_after, stage_of
from policies.snapshot.generation import Snapshot, objectives_by_model
from policies.snapshot.release import Canary
from policies.snapshot.route import Route
from policies.snapshot.slos import Objective
from telemetry.logs.line import warning

TICK_S = 1.0
_LOADS_EVERY_S = 10.0
# Whoever looks later than this was stopped, or the clock was set.
_LOOKS_ON_S = 60.0
# What is promoted goes on at once, if it can; harm that is seen at that moment is the judge's all the same.
_LEAD_ON = (Command.PROMOTE, Command.PROMOTE_TO_END)
_STOPPED = (RolloutState.PAUSED, RolloutState.ROLLED_BACK)

Done = TypeVar("Done")


@dataclass(frozen=True)
class Surroundings:
    """What a rollout goes by beside what workers tell of its trial.

    Attributes:
        counts: of every objective, by version.
        is_same: whether the answers of a shadow (model, name) are called the same as stable's.
    """

    pods: Callable[[], PodTable]
    counts: Callable[[], SloCounts]
    is_same: Callable[[str, str], bool] = lambda _model, _shadow: False


class Rollout:
    """One model's canary, as it stands.

    Attributes:
        known_revision: that the store has.
        unkept: changes that the store does not have yet, the oldest first.
        sight: of the last second; None before the first.
        full_since: of the step in which bad keys found no room, the revision that it began with; 0 for none yet.
        transitions: the oldest first.
    """

    def __init__(self, route: Route, canary: Canary, progress: Progress, kept: KeptRollout | None) -> None:
        self.route = route
        self.canary = canary
        self.progress = progress
        self.known_revision = 0 if kept is None else kept.revision
        self.unkept: tuple[TransitionReport, ...] = ()
        self.gathering = Gathering(canary, progress, progress.began_s, None if kept is None else kept.evidence)
        self.sight: Sight | None = None
        self.full_since = 0
        self.transitions: deque[TransitionReport] = deque(kept.transitions if kept else (), maxlen=MAX_TRANSITIONS)


class RolloutKeeper(WorkerListener):
    """Every canary of the generation in force.

    Args:
        tell: every worker, and each that starts later.

    Attributes:
        rollouts: by model.
        generation: the one that they follow.
        trouble: why the store cannot be used, "" when it can.
    """

    def __init__(
        self,
        state: Path,
        surroundings: Surroundings,
        tell: Callable[[Releases], None],
        audit: AuditLog,
        say: Say,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.rollouts: dict[str, Rollout] = {}
        self.generation = 0
        self.trouble = ""
        self._path = state / FILE_NAME
        self._surroundings = surroundings
        self._tell = tell
        self._audit = audit
        self._say = say
        self._wall_s = wall_s
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rollouts")
        self._store: RolloutStore | None = None
        self._is_read = False
        # Of models without a canary now: what is kept of them.
        self._others: dict[str, KeptRollout] = {}
        self._loads = Loads()
        self._loads_kept_s = 0.0
        self._looked_s = self._looking_since_s = 0.0
        self._snapshot: Snapshot | None = None
        self._followed: Snapshot | None = None
        self._objectives: dict[str, tuple[Objective, ...]] = {}
        self._is_due = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    # --- WorkerListener, and late labels

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """Take in what a worker tells of a trial, and what was asked of versions."""
        now_s = self._wall_s()
        match message:
            case TrialEvents(stage=stage):
                rollout = self.rollouts.get(stage.model)
                if rollout is not None:
                    rollout.gathering.take(message, rollout.progress, now_s)
            case Tally(requests=requests):
                for one in requests:
                    if one.version and not one.reason:
                        self._loads.add((one.model, one.version), sum(one.buckets), one.device_us, now_s)

    def labelled(self, events: Iterable[LabelEvent]) -> None:
        """Take in late labels that met their answers."""
        now_s = self._wall_s()
        for event in events:
            rollout = self.rollouts.get(event.model)
            feedback = rollout.route.feedback if rollout is not None else None
            if rollout is not None and feedback is not None and feedback.judged:
                rollout.gathering.take_label(event, rollout.progress, now_s)

    # --- generations

    async def begin(self, snapshot: Snapshot) -> None:
        """Take up what was kept, and have workers that start told of it; nothing moves before pods are known."""
        self.follow(snapshot)
        async with self._one_at_a_time:
            await self._take_in()

    def follow(self, snapshot: Snapshot) -> None:
        """Go by this generation from the next look on, which comes at once."""
        self._snapshot = snapshot
        self._is_due.set()

    # --- the watch

    async def run(self) -> None:
        """Look once a second, and at once when there is another generation, for ever."""
        while True:
            await self._due_within(TICK_S)
            await self.look()

    async def _due_within(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._is_due.wait()
        except TimeoutError:
            return

    async def look(self) -> None:
        """Judge every canary, and do what follows."""
        async with self._one_at_a_time:
            if not await self._take_in():
                return
            for rollout in list(self.rollouts.values()):
                await self._look_at(rollout)
            await self._keep_the_rest()

    async def _take_in(self) -> bool:
        """Know what is kept, and what policy says; whether that is so."""
        self._is_due.clear()
        self._heed_the_clock()
        if not self._is_read and not await self._read():
            return False
        await self._follow_policy()
        return True

    def _heed_the_clock(self) -> None:
        """Know since when requests would have been seen: not while nobody looked, nor before a clock was set.

        Where it is set back, what was later is now: no hold and no look at harm waits until it has caught up.
        """
        now_s = self._wall_s()
        if not 0.0 <= now_s - self._looked_s <= _LOOKS_ON_S:
            self._looking_since_s = now_s
        if now_s < self._looked_s:
            for rollout in self.rollouts.values():
                rollout.progress = not_after(rollout.progress, now_s)
                rollout.gathering.clock_was_set_back(now_s)
        self._looked_s = now_s

    async def _look_at(self, rollout: Rollout) -> None:
        if rollout.unkept and not await self._try_keep(rollout, rollout.progress) and not self._is_read:
            return  # somebody else's changes hold
        rollout.gathering.looked(self._wall_s())
        sight = self._see(rollout)
        self._say_untold(rollout)
        changed = advance(rollout.progress, rollout.canary, sight, self._wall_s())
        if changed is not rollout.progress:
            await self._move(rollout, rollout.progress, changed)

    def _say_untold(self, rollout: Rollout) -> None:
        """Say once in a step that bad keys find no room."""
        gathering = rollout.gathering
        if gathering.untold and rollout.full_since != gathering.began_revision:
            rollout.full_since = gathering.began_revision
            self._say(
                f"{rollout.progress.model}: more keys are bad in this step than are told apart; those are no evidence"
            )

    def _see(self, rollout: Rollout) -> Sight:
        """Return what is seen now, the judge's verdict with it."""
        now_s, progress, canary = self._wall_s(), rollout.progress, rollout.canary
        model = progress.model
        if not rollout.gathering.answers(canary, progress):
            rollout.gathering = Gathering(canary, progress, now_s)  # policy asks another question from now on
        objectives = self._objectives.get(model, ())
        watched_s = now_s - progress.watched_from_s
        burn = burn_seen(objectives, self._surroundings.counts(), (model, canary), watched_s, now_s)
        evidence, budget = rollout.gathering.evidence, smallest_budget(objectives)
        verdict = judge(canary, model, self.generation, evidence, budget, burn, now_s)
        pods = self._surroundings.pods().values()
        candidate, stable = (
            self._loads.seen((model, version), ready_pods(pods, model, version), now_s)
            for version in (canary.version, progress.stable)
        )
        shadows = {step.requires_shadow for step in canary.steps if step.requires_shadow}
        rollout.sight = Sight(
            verdict=verdict,
            requests=verdict.candidate.requests,
            candidate=candidate,
            stable=stable,
            rate_per_s=self._loads.rate_per_s(model, now_s),
            busiest_per_s=self._loads.busiest_per_s(model, now_s),
            same_shadows=frozenset(name for name in shadows if self._surroundings.is_same(model, name)),
            owner=rollout.route.owner,
            since_s=self._looking_since_s,
        )
        return rollout.sight

    # --- people

    def preview(self, rollout: Rollout, order: Order) -> Progress:
        """Return what an order would lead to.

        Raises:
            MakesNoSense: to nothing.
        """
        now_s, sight = self._wall_s(), self._see(rollout)
        obeyed = obey(rollout.progress, order, sight, now_s)
        if order.command not in _LEAD_ON:
            return obeyed
        led = advance(obeyed, rollout.canary, sight, now_s)
        return led if led.state in _STOPPED else replace(led, by=order.by)

    async def order(self, rollout: Rollout, order: Order) -> None:
        """Do what somebody wants, and tell workers.

        A share that falls is told though it cannot be kept yet, as it is for harm.

        Raises:
            MakesNoSense, StoreUnavailable, Overtaken: nothing changed.
        """
        async with self._one_at_a_time:
            if self.rollouts.get(rollout.progress.model) is not rollout:
                raise Overtaken("the canary has just left the policy")
            before, changed = rollout.progress, self.preview(rollout, order)
            report = transition(before, changed)
            try:
                await self._keep(rollout, changed, report)
            except StoreUnavailable as error:
                if changed.share >= before.share:
                    raise
                self._fail(error)
                rollout.unkept = (*rollout.unkept, report)[-MAX_TRANSITIONS:]
            self._put(rollout, report, changed)
            self._say(event_line(before, changed))

    # --- changes

    async def _follow_policy(self) -> None:
        snapshot = self._snapshot
        if snapshot is None or snapshot is self._followed:
            return
        is_first = self._followed is None
        self._followed, self.generation = snapshot, snapshot.generation
        self._objectives = objectives_by_model(snapshot)
        self._loads.follow([(route.model, name) for route in snapshot.routes.values() for name in route.versions])
        for model, rollout in list(self.rollouts.items()):
            if model not in snapshot.routes or snapshot.routes[model].canary is None:
                del self.rollouts[model]
                await self._forget(model, rollout.progress, rollout.known_revision, tuple(rollout.transitions))
        for route in snapshot.routes.values():
            await self._follow_route(route)
        for model, kept in list(self._others.items()):
            if kept.progress is not None:  # its canary left the policy while nobody looked
                await self._forget(model, kept.progress, kept.revision, kept.transitions)
        if is_first or not self.rollouts:
            self._tell_stages()

    async def _follow_route(self, route: Route) -> None:
        rollout, canary = self.rollouts.get(route.model), route.canary
        if canary is None:
            return
        kept = self._others.pop(route.model, None)
        known = rollout.progress if rollout is not None else None if kept is None else kept.progress
        progress = follow(known, route, self._wall_s(), kept.revision if kept is not None else 0)
        if progress is None:
            return
        if rollout is None:
            rollout = self.rollouts[route.model] = Rollout(route, canary, progress, kept)
        if progress is not known:
            await self._move(rollout, known, progress, route)
        else:
            rollout.route, rollout.canary = route, canary

    async def _forget(
        self, model: str, progress: Progress, known_revision: int, transitions: tuple[TransitionReport, ...]
    ) -> None:
        self._others[model] = KeptRollout(known_revision, None, None, transitions)
        self._tell_stages()
        try:
            await self._in_thread(lambda: self._opened().forget(model, known_revision))
        except (StoreUnavailable, Overtaken) as error:
            self._fail(error)  # should a start find it, and its canary still gone, that start forgets it
        await self._note(FILES, "canary.end", progress, detail_of(progress, progress, None))
        self._say(gone_line(progress))

    async def _move(
        self, rollout: Rollout, before: Progress | None, changed: Progress, route: Route | None = None
    ) -> None:
        """Make a change: keep it, tell workers, and then everybody.

        Args:
            route: that policy has from now on. Whoever looks meanwhile sees the old one with the old progress.
        """
        verdict = rollout.sight.verdict if rollout.sight is not None else None
        report = transition(before, changed)
        if not await self._try_keep(rollout, changed, report):
            if changed.by != POLICY and (before is None or changed.share >= before.share):
                return
            rollout.unkept = (*rollout.unkept, report)[-MAX_TRANSITIONS:]
        if route is not None and route.canary is not None:
            rollout.route, rollout.canary = route, route.canary
        self._put(rollout, report, changed)
        detail = detail_of(before, changed, verdict)
        await self._note(FILES if changed.by == POLICY else GATEWAY, action_of(before, changed), changed, detail)
        self._say(event_line(before, changed))

    def _put(self, rollout: Rollout, report: TransitionReport, changed: Progress) -> None:
        rollout.progress = changed
        rollout.transitions.append(report)
        if not rollout.gathering.answers(rollout.canary, changed):
            rollout.gathering = Gathering(rollout.canary, changed, changed.began_s)
        self._tell_stages()

    def _tell_stages(self) -> None:
        self._tell(Releases(tuple(stage_of(rollout.progress) for rollout in self.rollouts.values())))

    async def _note(self, actor: str, action: str, progress: Progress, detail: dict[str, object]) -> None:
        subject = subject_of(progress.model, progress.canary)
        change = Change(actor, action, subject, detail, "", self.generation, self.generation)
        await asyncio.to_thread(self._audit.note, change)

    # --- the store

    async def _read(self) -> bool:
        """Take up what was kept; whether that is done."""
        try:
            kept = await self._in_thread(lambda: self._opened().load())
        except StoreDamaged as error:
            await self._in_thread(self._set_aside)
            self._say(
                warning(f"{self._path} is damaged and now lies in {FILE_NAME}{SET_ASIDE}; canaries begin anew: {error}")
            )
            kept = Kept({}, {})
        except StoreUnavailable as error:
            self._fail(error)
            return False
        self._take_up(kept)
        return True

    def _take_up(self, kept: Kept) -> None:
        self._well()
        self._is_read = True
        self._followed = None
        self.rollouts = {}
        now_s = self._wall_s()
        self._others = {model: _not_after(one, now_s) for model, one in kept.rollouts.items()}
        self._loads.follow(kept.loads.keys())
        self._loads.restore(kept.loads)

    async def _try_keep(self, rollout: Rollout, progress: Progress, *reports: TransitionReport) -> bool:
        try:
            await self._keep(rollout, progress, *reports)
        except StoreUnavailable as error:
            self._fail(error)
            return False
        except Overtaken as error:
            self._overtaken(error)
            return False
        return True

    def _overtaken(self, error: Overtaken) -> None:
        self._is_read = False
        self._say(warning(f"{error}: somebody else writes {self._path}, and what is there holds"))

    async def _keep(self, rollout: Rollout, progress: Progress, *reports: TransitionReport) -> None:
        """Keep a revision, with all that led to it since the store was last written."""
        known, unkept = rollout.known_revision, rollout.unkept
        await self._in_thread(lambda: self._opened().move(progress, known, *unkept, *reports))
        self._well()
        rollout.known_revision, rollout.unkept = progress.revision, ()

    async def _keep_the_rest(self) -> None:
        """Keep evidence, and what was asked of versions; what cannot be kept now is tried again."""
        for rollout in self.rollouts.values():
            unsaved = rollout.gathering.unsaved() if not rollout.unkept else None
            if unsaved is None:
                continue
            gathering, model, known = rollout.gathering, rollout.progress.model, rollout.known_revision
            try:
                await self._in_thread(partial(self._gather, model, known, unsaved))
            except asyncio.CancelledError:
                gathering.not_saved()  # it may be under way; twice is as good as once
                raise
            except StoreUnavailable as error:
                gathering.not_saved()
                self._fail(error)
                return
            except Overtaken as error:
                self._overtaken(error)
                return
            gathering.saved(unsaved)
        now_s = self._wall_s()
        if not 0.0 <= now_s - self._loads_kept_s < _LOADS_EVERY_S:
            self._loads_kept_s = now_s
            await self._keep_loads()

    def _gather(self, model: str, known_revision: int, unsaved: Unsaved) -> None:
        self._opened().gather(model, known_revision, unsaved)

    async def _keep_loads(self) -> None:
        loads = self._loads.kept()
        try:
            await self._in_thread(lambda: self._opened().put_loads(loads))
        except StoreUnavailable as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self.trouble:
            self._say(warning(f"{self._path} cannot be used, so no share of a canary rises until it can: {error}"))
        self.trouble = str(error) or "it does not say why"

    def _well(self) -> None:
        if self.trouble:
            self._say(f"{self._path} can be used again")
        self.trouble = ""

    async def stop(self) -> None:
        """Keep what is not kept yet, and close the store."""
        async with self._one_at_a_time:
            if self._is_read:
                self._loads_kept_s = 0.0
                await self._keep_the_rest()
        await self._in_thread(self._close)
        self._thread.shutdown()

    def _opened(self) -> RolloutStore:
        if self._store is None:
            self._store = RolloutStore.open(self._path)
        return self._store

    def _set_aside(self) -> None:
        self._close()
        set_aside(self._path)

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    async def _in_thread(self, work: Callable[[], Done]) -> Done:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _not_after(kept: KeptRollout, now_s: float) -> KeptRollout:
    """Return what is kept of a model without moments of the future: the clock was set back while nobody ran."""
    progress, gathered = kept.progress, kept.evidence
    if gathered is not None:
        gathered = replace(gathered, evidence=evidence_not_after(gathered.evidence, now_s))
    return replace(kept, progress=None if progress is None else not_after(progress, now_s), evidence=gathered)
