"""Keeps the wanted number of workers running, each with the generation in force and the pods as last seen.

Beside them one spare is kept: a worker that has started and prepared the generation in force, and waits. An interpreter
takes 0.3 s of CPU to start, on busy cores twice as long; a spare takes a dead worker's place in milliseconds.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter, deque
from functools import reduce

from msgspec import Struct
from msgspec.structs import replace

from gateway.control import restarts
from gateway.control.count_sums import ejections_of_both, waits_of_both
from gateway.control.events import Say
from gateway.control.messages import (
    Accepting,
    Commit,
    Counts,
    FromWorker,
    OthersRate,
    Pods,
    Prepare,
    Prepared,
    ToWorker,
)
from gateway.control.worker_process import WorkerProcess, WorkerSpec, start_worker
from telemetry.logs.line import warning

TICK_S = 1.0
# A worker counts about once a second; five in a row lost means that it hangs or is stopped.
SILENT_TICKS = 5
# An interpreter starts in well under a second; this is for a machine that is swamped.
STARTING_TICKS = 20
_DRAIN_GRACE_S = 0.5
_NO_PROCESS_PAUSE_S = 0.1


class GenerationBlob(Struct, frozen=True):
    """A generation as it travels: its number and the encoded snapshot."""

    number: int
    blob: bytes


class WorkerListener:
    """What others of the supervisor want to hear about workers; each method does nothing by itself."""

    def started(self, worker: WorkerProcess) -> None:
        """A worker was started with the generation in force."""

    def said(self, worker: WorkerProcess, message: FromWorker) -> None:
        """A worker sent a message."""

    def gone(self, worker: WorkerProcess) -> None:
        """A worker ended."""


class Workers:
    """The workers of this supervisor; indexes are labels, and a spare keeps its own when it takes a place.

    Attributes:
        restarts: workers replaced since the supervisor started.
        ended: the counts of all workers that have ended, as far as they were told.
        spare: started, not accepting; None while there is none.
        listeners: whoever hears of every worker, the spare included.
    """

    def __init__(self, spec: WorkerSpec, in_force: GenerationBlob, say: Say) -> None:
        self.restarts = 0
        self.ended = Counts(requests=0, by_reason={}, in_flight=0, connections=0)
        self.wanted = spec.worker_count
        self.listeners: list[WorkerListener] = []
        self._in_force = in_force
        self._spec = spec
        self._say = say
        self._pods: Pods | None = None
        self._kept_told: dict[str, ToWorker] = {}
        self._running: dict[int, WorkerProcess] = {}
        self._leaving: dict[int, WorkerProcess] = {}
        self.spare: WorkerProcess | None = None
        self._next_serial = 1
        self._quick_deaths = 0
        # What is told once a successor accepts: how a worker ended, and when.
        self._untold_deaths: deque[tuple[str, float]] = deque(maxlen=self.wanted)
        self._starts: dict[asyncio.Task[None], int] = {}
        self._draining = asyncio.Event()
        self._all_gone = asyncio.Event()

    @property
    def in_force(self) -> GenerationBlob:
        """What a worker that starts is given."""
        return self._in_force

    @property
    def running(self) -> list[WorkerProcess]:
        """The workers on duty, by index: without the spare, and without those whose places are taken."""
        return sorted(self._running.values(), key=lambda worker: worker.index)

    @property
    def accepting(self) -> list[WorkerProcess]:
        """The workers that take requests."""
        return [worker for worker in self.running if worker.is_accepting]

    @property
    def total(self) -> Counts:
        """What all workers have counted, those that leave and those that have ended too, and what waits in them."""
        living = [worker.counts for worker in self._everyone()]
        return replace(reduce(with_ended, living, self.ended), waiting=sum(counts.waiting for counts in living))

    def find(self, serial: int) -> WorkerProcess | None:
        """Return a worker on duty."""
        return self._running.get(serial)

    def start_all(self) -> None:
        """Start the wanted number; the spare follows when they accept."""
        for _ in range(self.wanted):
            self._start_soon(0.0)

    def show_pods(self, pods: Pods) -> None:
        """Tell every worker, and each that starts later, what the pods are; none accepts before the first time."""
        self._pods = pods
        for worker in (*self.running, *self._leaving.values()):
            worker.send(pods)

    def keep_told(self, key: str, message: ToWorker) -> None:
        """Tell every worker, the spare too, and each that starts later; another message of this key replaces it."""
        self._kept_told[key] = message
        for worker in self._everyone():
            worker.send(message)

    def put_in_force(self, generation: GenerationBlob) -> None:
        """Give this generation to workers that start from now on."""
        if generation.number == self._in_force.number:
            return
        self._in_force = generation
        if self.spare is not None:
            self._prepare(self.spare)

    def _prepare(self, worker: WorkerProcess) -> None:
        worker.send(Prepare(self._in_force.number), [self._in_force.blob])

    def _start_soon(self, pause_s: float) -> None:
        index = self._free_index()
        task = asyncio.create_task(self._start(index, pause_s), name=f"start worker {index}")
        self._starts[task] = index
        task.add_done_callback(self._starts.pop)

    def _free_index(self) -> int:
        taken = {worker.index for worker in self._everyone()} | set(self._starts.values())
        return next(index for index in itertools.count() if index not in taken)

    def _everyone(self) -> list[WorkerProcess]:
        return [*self.running, *self._leaving.values(), *([self.spare] if self.spare is not None else [])]

    async def _start(self, index: int, pause_s: float) -> None:
        while not await self._draining_within(pause_s):
            serial, self._next_serial = self._next_serial, self._next_serial + 1
            try:
                worker = await start_worker(self._spec, index, serial, self._on_message, self._on_exit)
            except OSError as error:
                self._quick_deaths += 1
                pause_s = max(_NO_PROCESS_PAUSE_S, restarts.pause_s(self._quick_deaths))
                self._say(warning(f"worker {index} cannot be started: {error.strerror}; trying again in {pause_s:g} s"))
                continue
            for message in self._kept_told.values():
                worker.send(message)
            self._prepare(worker)
            if len(self._running) < self.wanted:
                self._put_on_duty(worker)
            else:
                worker.has_stood_by = True
                self.spare = worker
            return

    async def _draining_within(self, wait_s: float) -> bool:
        if not wait_s:
            return self._draining.is_set()
        try:
            async with asyncio.timeout(wait_s):
                return await self._draining.wait()
        except TimeoutError:
            return False

    def _put_on_duty(self, worker: WorkerProcess) -> None:
        worker.on_duty_s = time.monotonic()
        self._running[worker.serial] = worker
        worker.send(Commit(self._in_force.number))
        if self._pods is not None:
            worker.send(self._pods)
        for listener in self.listeners:
            listener.started(worker)

    def _on_message(self, worker: WorkerProcess, message: FromWorker) -> None:
        match message:
            case Accepting():
                self._say_accepting(worker)
                self._keep_spare()
            case Prepared(generation=generation, error=error) if error and generation == self._in_force.number:
                self._say(warning(f"{worker} cannot build generation {generation}, which is in force: {error}"))
                worker.kill()
        for listener in self.listeners:
            listener.said(worker, message)

    def _keep_spare(self) -> None:
        if len(self.accepting) >= self.wanted and self.spare is None and not self._starts:
            self._start_soon(restarts.pause_s(self._quick_deaths))

    def _say_accepting(self, worker: WorkerProcess) -> None:
        if not self._untold_deaths:
            self._say(f"{worker} accepts requests")
            return
        how, died_s = self._untold_deaths.popleft()
        self._say(f"{how}, replaced in {(time.monotonic() - died_s) * 1000:.0f} ms by {worker}")

    def _on_exit(self, worker: WorkerProcess) -> None:
        how = f"{worker} {worker.reap()}"
        self.ended = with_ended(self.ended, worker.counts)
        had_left = self._leaving.pop(worker.serial, None) is not None
        was_spare = worker is self.spare
        if was_spare:
            self.spare = None
        self._running.pop(worker.serial, None)
        for listener in self.listeners:
            listener.gone(worker)
        if self._draining.is_set():
            if not self._everyone():
                self._all_gone.set()
        elif had_left:
            why = "its place was taken before" if worker.is_accepting else "it was not needed any more"
            self._say(f"{how}; {why}")
        else:
            self._replace(worker, how, was_spare)

    def _replace(self, worker: WorkerProcess, how: str, was_spare: bool) -> None:
        now_s = time.monotonic()
        # Of its whole life, not of that on duty: a spare that was killed as soon as it had a place was sound. And one
        # that never came to accept has not lived, however long its start took.
        has_lived = worker.is_accepting or (worker.has_stood_by and worker.has_counted)
        lived_s = now_s - worker.started_s if has_lived else 0.0
        self._quick_deaths = restarts.count_quick_deaths(self._quick_deaths, lived_s)
        pause_s = restarts.pause_s(self._quick_deaths)
        if was_spare:
            self._say(f"{how}; it was the spare")
            self._start_soon(pause_s)
            return
        self.restarts += 1
        if len(self._running) >= self.wanted:
            self._say(f"{how}; there are enough others")
            self._keep_spare()
            return
        spare, self.spare = self.spare, None
        if spare is not None:  # only starts are paced: one that stands by costs nothing
            self._untold_deaths.append((how, now_s))
            self._put_on_duty(spare)  # the next spare follows when this one accepts
        elif pause_s:
            self._say(f"{how} right after its start; the next start is in {pause_s:g} s")
            self._start_soon(pause_s)
        else:
            self._untold_deaths.append((how, now_s))
            self._start_soon(0.0)

    # --- successors of workers that live

    @property
    def has_one_more(self) -> bool:
        """Whether more are on duty than are wanted, so that one may leave."""
        return len(self._running) > self.wanted

    @property
    def next_serial(self) -> int:
        """The serial of whichever worker is started next."""
        return self._next_serial

    def relief(self, oldest_serial: int) -> WorkerProcess | None:
        """Put the spare on duty beside the others and return it, if it has started; an older one makes way for it."""
        spare = self.spare
        if spare is None or not spare.has_counted:
            return None
        if spare.serial < oldest_serial:
            self.spare = None
            self._send_away(spare, 0.0)
            return None
        self.spare = None
        self._put_on_duty(spare)
        return spare

    def retire(self, worker: WorkerProcess, within_s: float) -> None:
        """Let a worker whose place is taken finish what it has and leave."""
        if self._running.pop(worker.serial, None) is not None:
            self._send_away(worker, within_s)

    def _send_away(self, worker: WorkerProcess, within_s: float) -> None:
        self._leaving[worker.serial] = worker
        worker.drain(0.0, within_s, is_replaced=True)
        self._keep_spare()

    async def watch(self) -> None:
        """Kill workers that hang, for ever; their exit then brings a successor."""
        while True:
            await asyncio.sleep(TICK_S)
            for worker in self._everyone():
                # Ticks and not time: a supervisor that was itself stopped has not listened either.
                worker.silent_ticks += 1
                if worker.silent_ticks > (SILENT_TICKS if worker.has_counted else STARTING_TICKS):
                    self._say(f"{worker} has said nothing for {worker.silent_ticks} s and is killed")
                    worker.kill()
            self._tell_rates()

    def _tell_rates(self) -> None:
        total_per_s = sum(worker.rate_per_s for worker in self.running)
        for worker in self.running:
            worker.send(OthersRate(max(0.0, total_per_s - worker.rate_per_s)))

    async def drain(self, delay_s: float, within_s: float) -> None:
        """Let every worker finish; those that do not in time are killed."""
        self._draining.set()
        # None sleeps any more, and no process is left half started; a start that failed has left nothing to drain.
        await asyncio.gather(*self._starts, return_exceptions=True)
        for worker in self._everyone():
            worker.drain(delay_s, within_s)
        if not await self._gone_within(delay_s + within_s + _DRAIN_GRACE_S):
            for worker in self._everyone():
                self._say(warning(f"{worker} did not finish in time and is killed"))
                worker.kill()
            await self._gone_within(_DRAIN_GRACE_S)

    async def _gone_within(self, wait_s: float) -> bool:
        if not self._everyone():
            return True
        try:
            async with asyncio.timeout(wait_s):
                await self._all_gone.wait()
        except TimeoutError:
            return False
        return True


def with_ended(total: Counts, last: Counts) -> Counts:
    """Add the last counts of a worker that has ended; what it had in flight and connected ended with it."""
    reasons = total.by_reason.keys() | last.by_reason.keys()
    by_reason = {reason: total.by_reason.get(reason, 0) + last.by_reason.get(reason, 0) for reason in sorted(reasons)}
    return Counts(
        requests=total.requests + last.requests,
        by_reason=by_reason,
        in_flight=0,
        connections=0,
        retries=total.retries + last.retries,
        retries_refused=total.retries_refused + last.retries_refused,
        waits=waits_of_both(total.waits, last.waits),
        ejections=ejections_of_both(total.ejections, last.ejections),
        copies_lost=dict(Counter(total.copies_lost) + Counter(last.copies_lost)),
        log_lines=dict(Counter(total.log_lines) + Counter(last.log_lines)),
        log_suppressed=total.log_suppressed + last.log_suppressed,
    )
