"""The copies process: what is done with copies of answered requests, away from every caller.

It takes generations and pods from the supervisor and answered requests from workers. Whatever becomes of it costs
comparisons, recordings and labels, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import cast

import msgspec

from gateway.control.messages import Drain, Pods
from gateway.copies.compare.answer import Answer
from gateway.copies.copied import Allowed, Copied
from gateway.copies.intake import Intake
from gateway.copies.kept import read_kept, write_kept
from gateway.copies.label_book import LabelBook
from gateway.copies.messages import (
    Answered,
    AskReplay,
    AskSamples,
    CopyCounts,
    Forget,
    FromCopies,
    Labelled,
    LateLabels,
    Listening,
    PurgeSamples,
    Replayed,
    SamplesTold,
    Shadows,
    ToCopies,
    Use,
)
from gateway.copies.queue import Memory
from gateway.copies.recordings import FOLDER as RECORDINGS
from gateway.copies.recordings import Recordings
from gateway.copies.replay import Replays
from gateway.copies.reports import ReplayReport
from gateway.copies.samples import FOLDER as SAMPLES
from gateway.copies.samples import Samples
from gateway.copies.sending import Sending
from gateway.copies.shadowing import Shadowing
from gateway.dataplane.defects import Defects
from gateway.decide.copying import SHADOW_DIFFERENCE
from model_pod.wire.frames import BadFrame, FrameDecoder, encode
from policies.snapshot.generation import Snapshot
from telemetry.logs.line import warning
from telemetry.logs.log import LOG
from telemetry.record import FLUSH_EVERY_S, Recorder

_TELL_EVERY_S = 1.0
_LISTEN_AGAIN_S = 1.0
_DIGEST_KEY_BYTES = 32
# A process that is killed has lost so many seconds of comparing, and of its shadows' budgets.
_TELLS_PER_KEEPING = 2
# What is too old to be kept is gone from the disk after so many, though nothing else happens.
_TELLS_PER_FORGETTING = 600
_TELLS_PER_TIDYING = 10
# A supervisor that is stopped reads nothing; what it would be told is told again, or counted, a second later.
_UNREAD_BYTES = 2**22
# Without a supervisor nobody says which pods there are.
_ORPHAN_DRAIN = Drain(delay_s=0.0, within_s=1.0)


def say(line: str) -> None:
    """Tell people."""
    LOG.say(f"gateway: copies (pid {os.getpid()})", line)


class CopiesProcess:
    """The life of the process.

    Attributes:
        done: resolved when it may exit.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, state: Path, recorder: Recorder | None = None) -> None:
        self._loop = loop
        self._state = state
        self._recorder = recorder
        self._control: asyncio.Transport | None = None
        self._snapshot: Snapshot | None = None
        self._allowed = Allowed({})
        self._defects = Defects()
        self._sending = Sending(loop, recorder, self._defects.note)
        self._recordings = Recordings(state / RECORDINGS, say)
        self._samples = Samples(state / SAMPLES, say)
        self._labels = LabelBook(state, say)
        digest_key = os.urandom(_DIGEST_KEY_BYTES)
        self._shadowing = Shadowing(
            loop, self._sending, Memory(), self._defects.note, self._labels.copied, digest_key, self._differs
        )
        self._replays = Replays(self._recordings, self._sending, self._replayed, say, digest_key=digest_key)
        self._intake = Intake(state, self, say)
        self._keeping = asyncio.Lock()
        self._kept = read_kept(state)
        self._tells = self._kept_changes = 0
        self._is_draining = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.done: asyncio.Future[None] = loop.create_future()

    # --- what the supervisor says

    def on_control(self, transport: asyncio.Transport) -> None:
        """The control channel stands."""
        self._control = transport
        self._loop.call_later(_TELL_EVERY_S, self._tell_on)
        self._record_on()

    def on_message(self, message: ToCopies, blobs: list[memoryview]) -> None:
        """Do what the supervisor says."""
        match message:
            case Use():
                self._use(msgspec.msgpack.decode(blobs[0], type=Snapshot))
            case Pods():
                self._sending.show(message)
            case Forget(model=model, shadow=""):
                self._forget_recordings(model)
            case Forget(model=model, shadow=name):
                self._shadowing.forget(model, name)
                self._start(self._keep())
            case AskReplay():
                self._replays.ask(message)
            case AskSamples() | PurgeSamples():
                self._say(self._told_of_samples(message))
            case Drain():
                self._drain(message)

    def on_supervisor_gone(self) -> None:
        """Nobody hears any more what is compared; a successor begins with what was kept."""
        self._control = None
        self._drain(_ORPHAN_DRAIN)

    def _use(self, snapshot: Snapshot) -> None:
        is_first = self._snapshot is None
        self._snapshot = snapshot
        self._allowed = Allowed(snapshot.tenants)
        self._sending.use(snapshot)
        self._shadowing.use(snapshot, self._kept if is_first else {})
        self._recordings.use(snapshot)
        self._samples.use(snapshot)
        self._labels.use(snapshot)
        self._replays.use(snapshot)
        if is_first:
            self._kept = {}
            self._start(self._listen())
            self._start(self._keep())

    async def _listen(self) -> None:
        """Listen, as soon as the disk and the system have room for a socket."""
        trouble = ""
        while not self._is_draining:
            try:
                await self._intake.listen()
            except OSError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    say(warning(f"no copies are taken until {self._intake.path} can be listened on: {error}"))
                await asyncio.sleep(_LISTEN_AGAIN_S)
            else:
                self._say(Listening(str(self._intake.path)))
                return

    def _forget_recordings(self, model: str) -> None:
        try:
            self._recordings.forget(model)
        except OSError as error:
            say(warning(f"recordings of {model} cannot be removed: {error}"))

    def _told_of_samples(self, asked: AskSamples | PurgeSamples) -> SamplesTold:
        try:
            if isinstance(asked, AskSamples):
                return SamplesTold(asked.number, self._samples.read(asked))
            return SamplesTold(asked.number, purged=self._samples.purge(asked))
        except OSError as error:
            return SamplesTold(asked.number, problem=f"samples cannot be removed: {error}")
        except Exception as error:  # whoever asks is told, and what else the process does goes on
            self._defects.note("what is asked of samples", error)
            return SamplesTold(asked.number, problem="samples cannot be read; the log of the gateway says why")

    # --- what workers say (``gateway.copies.intake.Takes``)

    def answered(self, answered: Answered, body: bytes, answer_body: bytes) -> None:
        """A request was answered."""
        route = self._snapshot.routes.get(answered.model) if self._snapshot is not None else None
        if route is None or self._is_draining:
            return
        answer = Answer(answered.status, answered.answer_fields, answer_body, answered.took_s, answered.device_us)
        try:
            if answered.is_labelled:
                self._labels.answered(answered, answer)
            if answered.is_recorded and route.record is not None and self._allowed(answered, route.record.never):
                self._recordings.keep(answered, body, answer, time.time())
            if answered.why_sample:
                self._samples.keep(answered, body, answer, answered.why_sample, time.time())
            self._shadowing.take(answered, body, answer)
        except Exception as error:  # of one request; the others that came with it go on
            self._defects.note("an answered request", error)

    def _differs(self, answered: Answered, copied: Copied, answer: Answer) -> None:
        """A shadow's answer is another than the caller got."""
        if not answered.why_sample and self._samples.wants(answered.model, SHADOW_DIFFERENCE):
            seen = msgspec.structs.replace(answered, fields=copied.fields)
            self._samples.keep(seen, copied.body, answer, SHADOW_DIFFERENCE, time.time())

    def late_labels(self, labels: LateLabels) -> None:
        """A tenant tells labels."""
        self._labels.told(labels, time.time())

    # --- what is told and kept

    def _tell_on(self) -> None:
        self._loop.call_later(_TELL_EVERY_S, self._tell_on)
        self._tells += 1
        LOG.tick()
        try:
            self._tell()
        except Exception as error:  # the next second may be better
            self._defects.note("what is told of copies", error)
        has_changed = self._tells % _TELLS_PER_KEEPING == 0 and self._shadowing.changes != self._kept_changes
        if has_changed or self._tells % _TELLS_PER_FORGETTING == 0:
            self._start(self._keep())
        if self._tells % _TELLS_PER_TIDYING == 0:
            self._recordings.tidy(time.time())
            self._samples.tidy(time.time())

    def _tell(self) -> None:
        now_s = time.time()
        joined = self._labels.join(now_s)
        for pair in joined.pairs:
            comparison = self._shadowing.comparison_of(pair.model, pair.shadow)
            if comparison is not None:
                comparison.labelled(pair.request_id, pair.stable_right, pair.shadow_right)
        if joined.events:
            self._say(Labelled(joined.events))
        if self._control is None or self._control.get_write_buffer_size() >= _UNREAD_BYTES:
            return
        self._say(Shadows(self._shadowing.reports(now_s)))
        labels = {model: dict(counts) for model, counts in self._labels.counts.items()}
        recordings = {model: dict(counts) for model, counts in self._recordings.counts.items()}
        samples = {model: dict(counts) for model, counts in self._samples.counts.items()}
        kept = self._recordings.bytes_kept, recordings, samples, self._samples.bytes_kept, self._samples.hidden
        self._say(CopyCounts(self._shadowing.counts(), labels, *kept))

    async def _keep(self) -> None:
        async with self._keeping:  # what is newer is written later
            changes, kept = self._shadowing.changes, self._shadowing.kept()
            try:
                await asyncio.to_thread(write_kept, self._state, kept)
                self._kept_changes = changes
            except OSError as error:
                say(warning(f"what shadows have come to cannot be kept in {self._state}: {error}"))

    def _replayed(self, report: ReplayReport) -> None:
        self._say(Replayed(report))

    def _record_on(self) -> None:
        if self._recorder is not None:
            self._loop.call_later(FLUSH_EVERY_S, self._record_on)
            self._recorder.flush()

    def _say(self, message: FromCopies) -> None:
        if self._control is not None:
            self._control.writelines(encode(message))

    # --- the end

    def _drain(self, drain: Drain) -> None:
        if not self._is_draining:
            self._is_draining = True
            self._start(self._leave(drain.within_s))

    async def _leave(self, within_s: float) -> None:
        try:
            self._intake.close()
            await self._replays.stop()
            await self._shadowing.drain(within_s)
            self._sending.close()
            self._tell()
            await self._keep()
            self._labels.close()
            if self._recorder is not None:
                self._recorder.close()
        finally:  # whatever went wrong: without a supervisor nobody else would end this process
            if not self.done.done():
                self.done.set_result(None)

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class ControlProtocol(asyncio.Protocol):
    """The process's end of the control channel."""

    def __init__(self, process: CopiesProcess) -> None:
        self._process = process
        self._decoder: FrameDecoder[ToCopies] = FrameDecoder(ToCopies)  # type: ignore[arg-type]  # a union is a type here
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._process.on_control(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message, blobs in self._decoder.feed(data):
                self._process.on_message(message, blobs)
        except (BadFrame, msgspec.MsgspecError) as error:
            say(warning(f"the supervisor's message cannot be read: {error}"))
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._process.on_supervisor_gone()
