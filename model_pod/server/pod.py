"""One pod: keeps an inference process there for its model, and knows at any moment whether requests may come in."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from model_pod.server.config import PodConfig
from model_pod.server.dispatch import Dispatcher, Engine, WrongAnswer
from model_pod.server.events import say, show
from model_pod.server.inference_process import Child, EngineChild, InferenceProcess
from model_pod.server.lateness import Lateness
from model_pod.server.lifecycle import Happened, Life, after, failed_load
from model_pod.server.opened_model import ModelUnusable, OpenedModel, open_model
from model_pod.server.queue import RequestQueue
from model_pod.server.request_span import RequestSpans
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import (
    Cut,
    FromInference,
    Load,
    Loaded,
    LoadFailed,
    LogLevel,
    Partial,
    Ran,
    Summarised,
    Watch,
)
from model_pod.wire.link import LINK_VERSION
from model_pod.wire.refusals import Refused
from model_pod.wire.status import MAX_LOADS_TOLD, LoadEnded, PodState, PodStatus
from telemetry.logs.line import Level, warning
from telemetry.logs.log import LOG

SPANS_SENT_WITHIN_S = 1.2  # a little more than the inference process gives its exporter
# Policy allows 16 of the input and as many of the output.
MOST_PARTS = 32
KILLED_WITHIN_S = 5.0  # a process in an uninterruptible call may outlive its SIGKILL for a while


class _LoadingFailed(Exception):
    """The inference process did not get as far as answering; the text is a sentence for the model's owner."""


class Pod:
    """A model, its queue and its inference process.

    Args:
        open_model: opens the archive; called in a thread.
        start_child: starts an inference process on one end of a socketpair; called in a thread.
        spans: what the sidecar is told by; None where there is none.

    Attributes:
        model: None until the archive is open.
        opened: set once the archive has been opened or refused.
        lateness: of the server's loop.
    """

    def __init__(
        self,
        config: PodConfig,
        open_model: Callable[[PodConfig], OpenedModel] = open_model,
        start_child: Callable[[socket.socket], Child] = EngineChild,
        spans: RequestSpans | None = None,
    ) -> None:
        self.config = config
        self.spans = spans
        recorder = spans.recorder if spans is not None else None
        self.life = Life()
        self.model: OpenedModel | None = None
        self.opened = asyncio.Event()
        self.lateness = Lateness()
        self.dispatcher = Dispatcher(RequestQueue(config.queue_rows, config.queue_bytes), recorder)
        self._open_model = open_model
        self._start_child = start_child
        self._process: InferenceProcess | None = None
        self._loaded: Loaded | None = None
        self._load_trouble = ""
        self._instance = uuid.uuid4().hex
        self._loads: deque[LoadEnded] = deque(maxlen=MAX_LOADS_TOLD)
        self._load_count = 0
        self._load_began_s = 0.0
        self._watch = Watch()
        self._takes_new = True
        self._has_drained = False

    @property
    def is_ready(self) -> bool:
        """Whether it answers inferences now."""
        return self.life.state is PodState.READY and self.dispatcher.has_engine

    @property
    def is_draining(self) -> bool:
        """Whether it is on its way out: not ready any more, and soon taking nothing new."""
        return self.life.state is PodState.DRAINING

    def admit(self) -> None:
        """Judge a new request, once, by its head.

        Raises:
            Refused: ``pod_draining`` or ``model_not_ready``.
        """
        if not self._takes_new:
            raise Refused("pod_draining", "this pod is draining; send the request again")
        self.served()

    def served(self) -> OpenedModel:
        """Return the model for an admitted request; one that is only restarting or loading lets requests wait.

        Raises:
            Refused: ``model_not_ready``, or ``pod_draining`` for what comes when the drain has ended.
        """
        if self._has_drained:
            raise Refused("pod_draining", "this pod stopped before it ran the request")
        if self.model is None or self.life.state is PodState.FAILED:
            raise Refused("model_not_ready", self.life.message)
        return self.model

    def status(self) -> PodStatus:
        """Return the pod's own account."""
        now_s = time.monotonic()
        return PodStatus(
            model=self.config.model,
            version=self.config.version,
            state=self.life.state,
            was_ready=self.life.was_ready,
            message=self.life.message,
            device=self._loaded.device if self._loaded else "",
            queued_rows=self.dispatcher.queue.row_count,
            running_rows=self.dispatcher.running_rows,
            restarts=self.life.restarts,
            pid=os.getpid(),
            inference_pid=self._process.pid if self._process else 0,
            load_s=self._loaded.load_s if self._loaded else 0.0,
            link=LINK_VERSION,
            device_s=self.dispatcher.device_s,
            batches=self.dispatcher.batches,
            batch_rows=self.dispatcher.batch_rows,
            running_s=self.dispatcher.running_s(now_s),
            loop_lag_s=self.lateness.worst_s(now_s),
            instance=self._instance,
            loads=tuple(self._loads),
        )

    async def keep_running(self) -> None:
        """Keep an inference process there, until cancelled."""
        while True:
            await asyncio.sleep(max(0.0, self.life.start_at_s - time.monotonic()))
            self._load_began_s = time.monotonic()
            try:
                how = await self._run_process(await self._open())
                self._note(Happened.LOST, f"The model's process ended with {how}.")
            except ModelUnusable as error:
                self._note(failed_load(self.life, is_archive=True), str(error))
            except _LoadingFailed as error:
                self._note(failed_load(self.life, is_archive=False), str(error))

    def watch(self, watch: Watch) -> None:
        """Let rows be summarised like this from now on; nothing is where nobody would be told."""
        self._watch = watch
        if self.dispatcher.has_engine:
            self._ask_to_watch()

    def log_from(self, level: Level) -> None:
        """Let the handler's own logging write from this level on."""
        if self._process is not None:
            self._process.send(_log_level(level))

    def begin_drain(self) -> None:
        """Say not ready from now on; what still comes is served until ``drain``."""
        self.life = after(self.life, Happened.DRAIN, time.monotonic())
        self._say(f"draining, {self.dispatcher.queue.row_count} rows queued")

    async def drain(self, within_s: float) -> None:
        """Take nothing new, finish what was admitted, and refuse what is left after ``within_s``."""
        if not self.is_draining:
            self.begin_drain()
        self._takes_new = False
        try:
            await asyncio.wait_for(self.dispatcher.idle.wait(), within_s)
        except TimeoutError:
            self._has_drained = True
            self.dispatcher.refuse_queued(Refused("pod_draining", "this pod stopped before it ran the request"))

    async def _open(self) -> OpenedModel:
        """Return the opened archive; a failed one is opened again, since its owner may have replaced it."""
        if self.model is None or self.life.state is PodState.FAILED:
            try:
                self.model = await asyncio.to_thread(self._open_model, self.config)
            finally:
                self.opened.set()
            for warning in self.model.warnings:
                self._say(warning)
        return self.model

    async def _run_process(self, model: OpenedModel) -> str:
        """Start a process, load the model into it and feed it until it ends; return how it ended."""
        process = self._process = InferenceProcess()
        started_s = self._load_began_s = time.monotonic()
        try:
            await process.open(self._start_child)
        except OSError as error:
            raise _LoadingFailed(f"The model's process could not be started: {error.strerror}.") from error
        ended = asyncio.create_task(process.ended())
        try:
            try:
                loaded = await self._load(process, ended, model)
            except _LoadingFailed as error:
                # What follows the colon is the handler's own text, which may say anything; it is in the log.
                self._record_load(started_s, str(error).partition(": ")[0], "", 0.0)
                raise
            self._record_load(started_s, "", loaded.device, loaded.load_s)
            # What its owner waits for is more than the handler's part: the process, and the import of torch.
            self._loaded = replace(loaded, load_s=time.monotonic() - started_s)
            self._note(Happened.LOADED, f"ready on {self._loaded.device} in {self._loaded.load_s:.1f} s")
            process.on_message = self._on_message
            process.on_end = self.dispatcher.detach
            self.dispatcher.attach(
                Engine(process, model.policy, model.response_timeout_s, loaded.device, loaded.records_spans)
            )
            if self._watch.share:
                self._ask_to_watch()
            return await asyncio.shield(ended)
        finally:
            if self.is_draining and self._loaded is not None and self._loaded.records_spans:
                process.finish()  # the handler's last spans are sent at its end
                await asyncio.wait((ended,), timeout=SPANS_SENT_WITHIN_S)
            process.kill()
            await asyncio.wait((ended,), timeout=KILLED_WITHIN_S)
            self._process = self._loaded = None
            self.dispatcher.detach()

    async def _load(self, process: InferenceProcess, ended: asyncio.Task[str], model: OpenedModel) -> Loaded:
        answer: asyncio.Future[FromInference] = asyncio.get_running_loop().create_future()
        process.on_message = lambda message, _: None if answer.done() else answer.set_result(message)
        config = self.config
        if _log_level(LOG.level) != LogLevel(int(Level.INFO)):
            process.send(_log_level(LOG.level))
        process.send(Load(config.model, config.version, model.model_dir, config.device, model.policy.max_rows))
        await asyncio.wait((answer, ended), timeout=model.startup_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            match answer.result():
                case Loaded() as loaded:
                    return loaded
                case LoadFailed() as failed:
                    self._show(failed.detail)
                    raise _LoadingFailed(failed.message)
                case Partial() | Cut() | Ran() | Summarised():
                    raise _LoadingFailed("The model's process answered a batch that nobody sent.")
        if ended.done():
            raise _LoadingFailed(f"The model's process ended with {ended.result()} while it loaded the model.")
        raise _LoadingFailed(f"The model did not load within {model.startup_timeout_s:g} s.")

    def _record_load(self, started_s: float, message: str, device: str, handler_s: float) -> None:
        if self.spans is None:
            return
        recorder = self.spans.recorder
        ids = (recorder.new_trace_id(), recorder.new_span_id())
        recorder.record(("l", *ids, started_s, time.monotonic(), message, device, handler_s))

    def _ask_to_watch(self) -> None:
        if self._process is not None and self.spans is not None:
            self._process.send(self._watch)

    def _record_summary(self, summarised: Summarised) -> None:
        if self.spans is None:
            return
        now_s = time.monotonic()
        for side, path, field in summarised.parts[:MOST_PARTS]:
            self.spans.recorder.record(("s", now_s, side, path, field))

    def _show(self, detail: str) -> None:
        """Write a failed load's traceback for the model's owner, once: the next attempts fail in the same way."""
        if detail and detail != self._load_trouble:
            show(f"pod {self.config.name}", detail)
        self._load_trouble = detail

    def _on_message(self, message: FromInference, blobs: Sequence[Buffer]) -> None:
        try:
            match message:
                case Ran():
                    self.dispatcher.on_ran(message, blobs)
                case Partial():
                    self.dispatcher.on_partial(message, blobs)
                case Cut():
                    self.dispatcher.on_cut(message)
                case Summarised():
                    self._record_summary(message)
                case Loaded() | LoadFailed():
                    raise WrongAnswer(f"a {type(message).__name__} after loading")
        except WrongAnswer as error:
            self._say(warning(f"the model's process answered wrongly ({error}); it is killed"))
            if self._process:
                self._process.kill()

    def _note(self, happened: Happened, what: str) -> None:
        self.life = after(self.life, happened, time.monotonic(), what)
        if happened is not Happened.LOST:
            self._note_load(is_loaded=happened is Happened.LOADED)
        if self.life.state is PodState.FAILED:
            self.dispatcher.refuse_queued(Refused("model_not_ready", self.life.message))
        wait_s = self.life.start_at_s - time.monotonic()
        is_up = happened is Happened.LOADED
        next_start = f"Next start in {wait_s:.0f} s." if wait_s >= 0.5 else "Starts again at once."
        self._say(what if is_up else f"{self.life.state}: {what} {next_start}")

    def _note_load(self, *, is_loaded: bool) -> None:
        self._load_count += 1
        took_s = time.monotonic() - self._load_began_s
        self._loads.append(LoadEnded(self._load_count, time.time(), took_s, is_loaded))

    def _say(self, event: str) -> None:
        say(f"pod {self.config.name}", event)


def _log_level(level: Level) -> LogLevel:
    return LogLevel(int(level), has_messages=LOG.handlers == "all")
