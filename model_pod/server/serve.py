"""The life of the pod's server process: open, listen, serve until a signal or the parent's end, drain, leave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Coroutine
from importlib.metadata import version

from model_pod.server.config import PodConfig
from model_pod.server.endpoints import Endpoints
from model_pod.server.events import say
from model_pod.server.handler_output import HandlerOutput
from model_pod.server.http import EdgeLimits, HttpEdge
from model_pod.server.lateness import Lateness
from model_pod.server.pod import Pod
from model_pod.server.request_span import RequestSpans
from model_pod.server.watch_file import WatchFile
from telemetry.conventions import POD_SERVICE
from telemetry.logs.log import LOG
from telemetry.record import FLUSH_EVERY_S, Recorder
from telemetry.records import Source

DRAIN_WITHIN_S = 8.0
CLOSE_WITHIN_S = 1.0
# A drain begins with serving on: whoever picks pods learns that this one is not ready, and callers that keep their
# connections are answered and told to close them. It ends when none is left, but not before a probe could look.
LAST_REQUESTS_S = 1.0
SEEN_AFTER_S = 0.3
_LOOK_EVERY_S = 0.01
_BEAT_S = 0.25
_WATCH_EVERY_S = 1.0
_LOG_LOOK_S = 1.0
# Until the archive is open nothing can be decoded, so connections wait in the socket's backlog; but not for long, for
# a probe wants to hear that the pod is there.
LISTEN_AFTER_S = 2.0


async def serve(config: PodConfig, listener: socket.socket) -> None:
    """Run the pod until it is told to stop."""
    stop = asyncio.Event()
    is_orphan = _watch(config.lifeline_fd, stop)
    package = version("penstock")
    spans = _spans(config, package)
    output = HandlerOutput(config.model, config.version)
    output.open()
    pod = Pod(config, start_child=output.start, spans=spans)
    LOG.on_level = pod.log_from
    logging_on = asyncio.create_task(_log_on())
    keeper = asyncio.create_task(pod.keep_running())
    beating = asyncio.create_task(_beat_for_ever(pod.lateness))
    watching = asyncio.create_task(_watch_rows(pod, config)) if config.drift else None
    recording = asyncio.create_task(_record_on(spans)) if spans is not None else None
    edge = HttpEdge(Endpoints(pod, package), EdgeLimits(body_bytes=config.max_body_bytes))
    try:
        await _either(keeper, pod.opened.wait(), LISTEN_AFTER_S)
        await edge.listen(listener)
        await _either(keeper, stop.wait(), None)
        pod.begin_drain()
        edge.leave()
        await _either(keeper, _last_requests(edge, is_orphan), None)
        edge.stop_listening()
        drain_until_s = time.monotonic() + DRAIN_WITHIN_S
        drained = asyncio.ensure_future(pod.drain(DRAIN_WITHIN_S))
        await _either(keeper, _first(drained, is_orphan), None)
        if not is_orphan.is_set():
            # What is answered may be large, and its reader slow: it has what is left of the drain.
            await edge.close(0.0, max(CLOSE_WITHIN_S, drain_until_s - time.monotonic()))
    finally:
        for task in (keeper, beating, logging_on, watching):
            if task is not None:
                task.cancel()
                await asyncio.wait((task,))
        output.close()
        if recording is not None and spans is not None:
            recording.cancel()
            spans.recorder.close()


def _spans(config: PodConfig, package: str) -> RequestSpans | None:
    if not config.records:
        return None
    source = Source(POD_SERVICE, config.name, os.getpid(), config.model, config.version, package)
    return RequestSpans(Recorder(config.records, source), config.kept_per_s)


async def _log_on() -> None:
    """Heed the settings of logs, for ever."""
    while True:
        LOG.tick()
        await asyncio.sleep(_LOG_LOOK_S)


async def _record_on(spans: RequestSpans) -> None:
    """Tell the sidecar what was recorded, now and again, for ever."""
    while True:
        begun_s = time.monotonic()
        await asyncio.sleep(FLUSH_EVERY_S)
        spans.flush(time.monotonic() - begun_s)


async def _beat_for_ever(lateness: Lateness) -> None:
    """Measure by how much the loop is late."""
    while True:
        begun_s = time.monotonic()
        await asyncio.sleep(_BEAT_S)
        now_s = time.monotonic()
        lateness.note(now_s - begun_s - _BEAT_S, now_s)


async def _watch_rows(pod: Pod, config: PodConfig) -> None:
    """Have rows summarised as policy says now, for ever."""
    file = WatchFile(config.drift, config.model, lambda trouble: say(f"pod {config.name}", trouble))
    while True:
        watch = file.changed()
        if watch is not None:
            pod.watch(watch)
        await asyncio.sleep(_WATCH_EVERY_S)


async def _last_requests(edge: HttpEdge, is_orphan: asyncio.Event) -> None:
    """Serve on for a moment, unless nobody is left to serve."""
    begun_s = time.monotonic()
    while not is_orphan.is_set() and (lasted_s := time.monotonic() - begun_s) < LAST_REQUESTS_S:
        if lasted_s >= SEEN_AFTER_S and edge.is_idle:
            return
        await asyncio.sleep(_LOOK_EVERY_S)


async def _first(drained: asyncio.Future[None], is_orphan: asyncio.Event) -> None:
    """Wait until the pod has drained, or there is nobody to drain it for."""
    orphaned = asyncio.ensure_future(is_orphan.wait())
    await asyncio.wait((drained, orphaned), return_when=asyncio.FIRST_COMPLETED)
    drained.cancel()
    orphaned.cancel()


async def _either(keeper: asyncio.Task[None], other: Coroutine[object, object, object], within_s: float | None) -> None:
    """Wait for ``other``; a keeper that fails, which only a bug can make it do, ends the process."""
    waiting = asyncio.ensure_future(other)
    await asyncio.wait((keeper, waiting), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if keeper.done():
        keeper.result()


def _watch(lifeline_fd: int, stop: asyncio.Event) -> asyncio.Event:
    """Set ``stop`` on SIGTERM, SIGINT or the lifeline's end; return what is set when it was the lifeline."""
    loop = asyncio.get_running_loop()
    is_orphan = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    if lifeline_fd < 0:
        loop.add_signal_handler(signal.SIGINT, stop.set)
        return is_orphan
    loop.add_signal_handler(signal.SIGINT, _ignore)  # Ctrl-C in a terminal reaches the whole group; the parent decides

    def on_lifeline() -> None:
        if not os.read(lifeline_fd, 1):
            loop.remove_reader(lifeline_fd)
            is_orphan.set()
            stop.set()

    loop.add_reader(lifeline_fd, on_lifeline)
    return is_orphan


def _ignore() -> None:
    """The parent decides."""
