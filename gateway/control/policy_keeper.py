"""Keeps the policy in force: reads the directory when it changed, numbers what is good, remembers what was refused."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec.structs import replace

from gateway.control import generation_archive, handover, last_good
from gateway.control.events import Say
from gateway.control.generation_switch import NobodyPrepared, Vetoed
from gateway.control.handover import GiveUp, Handover, SwitchNow
from gateway.control.pod_table import PodTable
from gateway.control.policy_changes import Outcome, PolicyChange, ignored, in_force, recalled, refused, switch
from gateway.control.policy_reader import PolicyReader, Reading
from gateway.control.policy_watch import PolicyWatch, Signature
from gateway.control.workers import GenerationBlob
from policies import diff
from policies.errors import PolicyError
from policies.local_key import with_local_key
from policies.snapshot.generation import Snapshot
from policies.snapshot.tests import PolicyTest
from telemetry.logs.line import warning

# An event stays readable; the management API has all of them.
_TOLD_AT_ONCE = 20
_BUSY_IS_TOLD_AFTER_S = 2.0
_START_WAITS_S = 2.0
# A disk that is full is not written to ten times a second.
_AGAIN_AFTER_S = 1.0


class Duty(StrEnum):
    """What follows from a generation in force and may fail for a while, as it is told then."""

    FOLLOW = "pods cannot follow the policy"
    KEEP = "the policy cannot be kept for the next start"
    ARCHIVE = "the policy cannot be kept for explanations"


class NoPolicy(Exception):
    """There is no policy to start with: the directory is refused and no earlier one is kept."""


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """The generation in force.

    Attributes:
        snapshot: numbered, as the files say it.
        loaded_at_s: Unix seconds.
        changes: against the generation before, one sentence each.
        is_recalled: it comes from the state directory, because the files are refused.
    """

    snapshot: Snapshot
    loaded_at_s: float
    changes: tuple[str, ...] = ()
    is_recalled: bool = False


@dataclass(frozen=True, slots=True)
class PolicyRefusal:
    """The set of files that was refused last and is still there.

    Attributes:
        at_s: Unix seconds.
    """

    errors: tuple[PolicyError, ...]
    at_s: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a new generation has to know and to move.

    Attributes:
        pods: what is known of each.
        workers_accepting: how many take requests.
        switch: makes the workers decide by a generation, or raises ``Vetoed``.
        follow: makes pods and addresses follow the generation in force, and the one that waits if there is one.
    """

    pods: Callable[[], PodTable]
    workers_accepting: Callable[[], int]
    switch: Callable[[GenerationBlob], Awaitable[None]]
    follow: Callable[[Snapshot, Handover | None], None]


@dataclass(slots=True)
class PolicyKeeper:
    """The policy of one directory.

    Attributes:
        local_key_sha256: of the key that this start adds, "" for none.
        refusal: None while the files are good, in force or waiting.
        waiting: a good generation that is not in force yet.
        reloads: sets of files since the start, by what became of them.
        changed: is told of everything that happens to the policy, for the record.
    """

    directory: Path
    state_dir: Path
    local_key_sha256: str
    say: Say
    refusal: PolicyRefusal | None = None
    waiting: Handover | None = None
    changed: Callable[[PolicyChange], None] = ignored
    reloads: Counter[Outcome] = field(init=False, default_factory=Counter)
    watch: PolicyWatch = field(init=False)
    _in_force: PolicyInForce | None = field(init=False, default=None)
    _last_number: int = field(init=False, default=0)
    _busy_since_s: float | None = field(init=False, default=None)
    _undone: set[Duty] = field(init=False, default_factory=set)
    _troubles: set[Duty] = field(init=False, default_factory=set)
    _again_s: float = field(init=False, default=0.0)
    _read_from_s: float = field(init=False, default=0.0)
    _reader: PolicyReader = field(init=False, default_factory=PolicyReader)

    def __post_init__(self) -> None:
        self.watch = PolicyWatch(self.directory)

    @property
    def in_force(self) -> PolicyInForce:
        """The policy by which requests are decided."""
        assert self._in_force is not None, "load_first comes first"  # noqa: S101
        return self._in_force

    def blob(self, snapshot: Snapshot) -> GenerationBlob:
        """Return a snapshot as workers get it: with the local key, and without the tests, which decide nothing."""
        shown = replace(snapshot, tests=())
        if self.local_key_sha256:
            shown = with_local_key(shown, self.local_key_sha256)
        return GenerationBlob(snapshot.generation, msgspec.msgpack.encode(shown))

    async def load_first(self) -> PolicyInForce:
        """Return the policy to start with: the directory's, else the one that was good last.

        Raises:
            NoPolicy: neither is there; the errors have been said.
        """
        self._reader.warm()
        kept = last_good.recall(self.state_dir)
        before = kept.snapshot.generation if kept is not None else 0
        # A number that was given is not given again, also if that generation could not be kept as the last good one.
        self._last_number = max(before, generation_archive.highest(self.state_dir))
        signature = await self._settled()
        reading = await self._reader.read(self.directory)
        self._remember(reading, signature)
        if reading.snapshot is not None:
            self._in_force = self._first(reading.snapshot, kept)
            self._undone = {Duty.KEEP, Duty.ARCHIVE}
            self._tell_in_force(before, self._in_force)
            self._keep()
            await self._archive()
            return self._in_force
        self._refuse(reading.errors)
        if kept is None:
            raise NoPolicy(f"{self.directory} is refused and there is no earlier policy to start with")
        self._in_force = PolicyInForce(kept.snapshot, kept.loaded_at_s, is_recalled=True)
        self.say(
            f"THE POLICY DIRECTORY IS REFUSED: starting with generation {before}, the last good one, "
            f"from {self.state_dir / last_good.FILE_NAME}; mend the files above and they take effect at once"
        )
        self.changed(recalled(before, kept.snapshot.digest))
        return self._in_force

    def _first(self, snapshot: Snapshot, kept: last_good.LastGood | None) -> PolicyInForce:
        if kept is not None and kept.snapshot.digest == snapshot.digest:
            return PolicyInForce(replace(snapshot, generation=kept.snapshot.generation), kept.loaded_at_s)
        self._last_number += 1
        changes = diff.changes(kept.snapshot, snapshot) if kept is not None else ()
        return PolicyInForce(replace(snapshot, generation=self._last_number), time.time(), changes)

    async def _settled(self) -> Signature:
        """Wait a moment for a writer that is still at it; a start does not wait for ever."""
        give_up_at_s = time.monotonic() + _START_WAITS_S
        signature = self.watch.look_at_start()
        while self.watch.busy and time.monotonic() < give_up_at_s:
            await asyncio.sleep(self.watch.look_again_s)
            signature = self.watch.look_at_start()
        return signature

    async def follow(self, mesh: Surroundings) -> None:
        """Put every good change in force as soon as nothing is lost by it, for ever."""
        try:
            while True:
                await asyncio.sleep(self.watch.look_again_s)
                await self._follow_once(mesh)
        finally:
            self.close()

    async def _follow_once(self, mesh: Surroundings) -> None:
        signature = await self._look()
        self._tell_busy()
        is_due = time.monotonic() >= self._read_from_s
        reading = await self._read(signature) if signature is not None and is_due else None
        if reading is not None:
            self._heed(reading, mesh)
        if self.waiting is not None:
            await self._go_on(self.waiting, mesh)
        await self._catch_up(mesh)

    def close(self) -> None:
        """End the process that waits to read the files."""
        self._reader.close()

    async def _look(self) -> Signature | None:
        if self.watch.is_quick:
            return self.watch.look(time.monotonic())
        return await asyncio.to_thread(self.watch.look, time.monotonic())

    async def _read(self, signature: Signature) -> Reading | None:
        """Load the directory; None when it changed meanwhile and will be looked at again."""
        reading = await self._reader.read(self.directory)
        if await asyncio.to_thread(self.watch.has_changed_since, signature):
            return None
        self._remember(reading, signature)
        return reading

    def _remember(self, reading: Reading, signature: Signature) -> None:
        """These files have been read; where nothing was read of them they are read again, though nobody edits them."""
        if reading.is_of_files:
            self.watch.remember(signature)
        else:
            self._read_from_s = time.monotonic() + _AGAIN_AFTER_S

    def _heed(self, reading: Reading, mesh: Surroundings) -> None:
        if reading.snapshot is not None:
            self._take(reading.snapshot, mesh)
            return
        if not reading.is_of_files and self.refusal is not None and self.refusal.errors == reading.errors:
            return  # that was told already
        # What no file says any more goes in force no more.
        self._withdraw(mesh)
        self._refuse(reading.errors)

    def _take(self, snapshot: Snapshot, mesh: Surroundings) -> None:
        """What the files say now takes the place of what they said before, if that is not in force yet."""
        in_force = self.in_force.snapshot
        if snapshot.digest == in_force.digest:
            self.reloads["unchanged"] += 1
            self._withdraw(mesh)
            self._agrees_again()
            self._take_tests(snapshot.tests)
            return
        self.refusal = None
        if self.waiting is not None and snapshot.digest == self.waiting.snapshot.digest:
            self.waiting = replace(self.waiting, snapshot=replace(self.waiting.snapshot, tests=snapshot.tests))
            return
        self._last_number += 1
        numbered = replace(snapshot, generation=self._last_number)
        self.waiting = handover.begin(in_force, numbered, mesh.pods(), time.monotonic())
        if self.waiting.awaited:
            awaited = ", ".join(map(str, self.waiting.awaited))
            self.say(f"generation {numbered.generation} waits for {awaited} to be ready")
            self._let_follow(mesh)

    def _take_tests(self, tests: tuple[PolicyTest, ...]) -> None:
        """Tests decide nothing, so they change without a generation; a plan tells only of those that are new."""
        before = self.in_force.snapshot
        if tests == before.tests:
            return
        after = replace(before, tests=tests)
        self._in_force = dataclasses.replace(self.in_force, snapshot=after)
        if diff.changes(before, after):
            self.say(f"generation {after.generation} stays in force: {diff.summary(before, after)}")
        self._undone |= {Duty.KEEP, Duty.ARCHIVE}

    def _withdraw(self, mesh: Surroundings) -> None:
        if self.waiting is not None:
            self.say(f"generation {self.waiting.snapshot.generation} is withdrawn")
            self._stop_waiting(mesh)

    def _stop_waiting(self, mesh: Surroundings) -> None:
        self.waiting = None
        self._let_follow(mesh)

    def _let_follow(self, mesh: Surroundings) -> None:
        """Let pods and addresses go by what holds now."""
        awaited = self.waiting if self.waiting is not None and self.waiting.awaited else None
        # Whatever stops it on the way, a defect too, it is done again until all of it is done.
        self._undone.add(Duty.FOLLOW)
        try:
            mesh.follow(self.in_force.snapshot, awaited)
        except OSError as error:
            self._put_off(Duty.FOLLOW, error)
        else:
            self._done(Duty.FOLLOW)

    async def _catch_up(self, mesh: Surroundings) -> None:
        """Do again what has failed: no switch stays half done."""
        if not self._undone or time.monotonic() < self._again_s:
            return
        if Duty.FOLLOW in self._undone:
            self._let_follow(mesh)
        if Duty.KEEP in self._undone:
            self._keep()
        if Duty.ARCHIVE in self._undone:
            await self._archive()

    def _put_off(self, duty: Duty, error: OSError) -> None:
        self._again_s = time.monotonic() + _AGAIN_AFTER_S
        if duty not in self._troubles:
            self._troubles.add(duty)
            self.say(warning(f"{duty} yet: {error.strerror}; it is tried again until it is done"))

    def _done(self, duty: Duty) -> None:
        self._undone.discard(duty)
        if duty in self._troubles:
            self._troubles.discard(duty)
            self.say(f"no longer: {duty}")

    async def _go_on(self, waiting: Handover, mesh: Surroundings) -> None:
        table, now_s = mesh.pods(), time.monotonic()
        self.waiting = waiting = handover.gone_on(waiting, table, now_s)
        match handover.decide(waiting, table, mesh.workers_accepting(), now_s):
            case GiveUp(errors):
                self._give_up(errors, mesh)
            case SwitchNow(although):
                if although:
                    self.say(f"generation {waiting.snapshot.generation} goes in force although {although}")
                await self._switch(waiting, mesh)

    async def _switch(self, waiting: Handover, mesh: Surroundings) -> None:
        before, after = self.in_force.snapshot, waiting.snapshot
        self.changed(switch(before.generation, after.generation, after.digest, diff.changes(before, after)))
        try:
            await mesh.switch(self.blob(waiting.snapshot))
        except NobodyPrepared as veto:
            self.waiting = handover.failed_try(waiting)
            if self.waiting is None:
                self._give_up((_vetoed(str(veto)),), mesh)
            else:
                self.say(f"generation {waiting.snapshot.generation}: {veto}; it is tried again when a worker accepts")
        except Vetoed as veto:
            self._give_up((_vetoed(str(veto)),), mesh)
        else:
            self._put_in_force(waiting.snapshot, mesh)
            await self._archive()

    def _give_up(self, errors: tuple[PolicyError, ...], mesh: Surroundings) -> None:
        self._refuse(errors)
        self._stop_waiting(mesh)

    def _put_in_force(self, snapshot: Snapshot, mesh: Surroundings) -> None:
        before = self.in_force.snapshot
        self._in_force = PolicyInForce(snapshot, time.time(), diff.changes(before, snapshot))
        self._undone |= {*Duty}
        self._tell_in_force(before.generation, self._in_force)
        self._keep()
        self.reloads["in_force"] += 1
        self.say(f"generation {snapshot.generation} in force: {diff.summary(before, snapshot)}")
        self._stop_waiting(mesh)

    def _tell_in_force(self, before: int, policy: PolicyInForce) -> None:
        self.changed(in_force(before, policy.snapshot.generation, policy.snapshot.digest, policy.changes))

    def _agrees_again(self) -> None:
        """The files say what is in force, so that comes from them, whatever it came from before."""
        self._in_force = dataclasses.replace(self.in_force, is_recalled=False)
        if self.refusal is not None:
            self.refusal = None
            self.say(f"policy files are good again: generation {self.in_force.snapshot.generation} stays in force")

    def _refuse(self, errors: tuple[PolicyError, ...]) -> None:
        self.refusal = PolicyRefusal(errors, time.time())
        self.reloads["refused"] += 1
        self.changed(refused(self._in_force.snapshot.generation if self._in_force is not None else 0, errors))
        for error in errors[:_TOLD_AT_ONCE]:
            self.say(warning(f"policy refused: {error}"))
        if len(errors) > _TOLD_AT_ONCE:
            self.say(
                warning(f"policy refused: {len(errors) - _TOLD_AT_ONCE} more errors; penstock policy check has all")
            )
        if self._in_force is not None:
            self.say(f"generation {self.in_force.snapshot.generation} stays in force")

    def _keep(self) -> None:
        try:
            last_good.keep(self.state_dir, self.in_force.snapshot, self.in_force.loaded_at_s)
        except OSError as error:
            self._put_off(Duty.KEEP, error)
        else:
            self._done(Duty.KEEP)

    async def _archive(self) -> None:
        try:
            await asyncio.to_thread(generation_archive.keep, self.state_dir, self.in_force.snapshot)
        except OSError as error:
            self._put_off(Duty.ARCHIVE, error)
        else:
            self._done(Duty.ARCHIVE)

    def _tell_busy(self) -> None:
        now_s = time.monotonic()
        if not self.watch.busy:
            self._busy_since_s = None
        elif self._busy_since_s is None:
            self._busy_since_s = now_s
        elif now_s - self._busy_since_s > _BUSY_IS_TOLD_AFTER_S:
            self._busy_since_s = float("inf")
            self.say(f"policy not read yet: another program has {', '.join(self.watch.busy)} open for writing")


def _vetoed(why: str) -> PolicyError:
    return PolicyError(".", 1, 1, f"a worker cannot build this generation: {why}", "Undo the latest edit.")
