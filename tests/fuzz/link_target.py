"""Fuzz target: the pod's end of the link before a model that answers at once; the first byte says how it is cut."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import cast

from model_pod.server.batching import BatchingPolicy
from model_pod.server.config import PodConfig
from model_pod.server.dispatch import Dispatcher, Engine
from model_pod.server.endpoints import Endpoints
from model_pod.server.inference_process import InferenceProcess
from model_pod.server.link import LinkConnection, LinkLimits
from model_pod.server.opened_model import OpenedModel
from model_pod.server.pod import Pod
from model_pod.wire.inference import Ran, Run, StageTimes
from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    DATA,
    LAST,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    RESET,
    WINDOW_BYTES,
    BadLink,
    Buffer,
    Frame,
    FrameReader,
    PodRequest,
    Reset,
    credit,
    credited,
    decode_answer,
    decode_charge,
    decode_reset,
    encode_head,
    frame,
)
from model_pod.wire.rows import RowAnswer

_LIMITS = LinkLimits(body_bytes=2**20, body_idle_s=15.0, body_total_s=300.0, stall_s=40.0)
_CONFIG = PodConfig("m", "1", Path("m.mar"), Path("extracted"))
_MODEL = OpenedModel("/m", BatchingPolicy(max_rows=4, max_wait_s=0.0))
_TURNS = 12  # of the loop, in which whatever can be answered is


def seeds() -> Iterator[bytes]:
    """Return inputs to begin with: what a worker might send, and what it must not."""
    whole, begun = REQUEST | LAST, REQUEST
    asked = encode_head(PodRequest("POST", "/predictions/m", "r", "t", "", 1000, NOT_TOLD, "", [(b"A", b"b")]))
    keyed = encode_head(PodRequest("POST", "/predictions/m", "r", "t", "", 1000, 4, "k", []))
    account = encode_head(PodRequest("GET", "/v2/health/live", "r", "t", "", 1000, 0, "", []))
    gone = encode_head(Reset("client_gone"))
    conversations: list[list[list[Buffer]]] = [
        [frame(whole, 1, asked, b"body"), frame(whole, 2, account), frame(RESET, 1, gone)],
        [frame(begun, 1, keyed, b"bo"), frame(whole, 2, keyed, b"body"), frame(DATA | LAST, 1, b"", b"dy")],
        [frame(begun, 1, asked), frame(DATA, 1, b"", bytes(3000)), frame(RESET, 1, gone), frame(DATA, 1, b"", b"x")],
        [frame(whole, 1, asked, bytes(4000)), [credit(1, 100)], [credit(1, 60_000)]],
        [frame(whole, 1, account), frame(whole, 1, account), frame(ANSWER, 3)],
        [frame(whole, 0, asked), frame(whole, 1, b"\x90"), frame(99, 1)],
    ]
    for conversation in conversations:
        sent = b"".join(piece for pieces in conversation for piece in pieces)
        for size in (0, 6, 255):
            yield bytes([size]) + sent


def fuzz(data: bytes) -> None:
    """Send one input to a pod and lose the link; an exception is a finding."""
    if not data:
        return
    sent, size = data[1:], data[0] + 1
    slices = [sent[at : at + size] for at in range(0, len(sent), size)]
    (frames, broke), (at_once, broke_at_once) = _frames(slices), _frames([sent])
    assert broke == broke_at_once, f"slices of {size} bytes are taken another way"
    assert broke or frames == at_once, f"slices of {size} bytes mean another thing"
    with redirect_stderr(StringIO()):
        asyncio.run(_conversation(slices, frames))


def _frames(slices: Sequence[bytes]) -> tuple[list[Frame], bool]:
    """Return the frames that come before the slice with one that is none, and whether there is such a slice."""
    reader = FrameReader()
    frames: list[Frame] = []
    for each in slices:
        try:
            frames += reader.feed(each)
        except BadLink:
            return frames, True
    return frames, False


async def _conversation(slices: Sequence[bytes], frames: Sequence[Frame]) -> None:
    pod = Pod(_CONFIG, lambda _: _MODEL)
    pod.model = _MODEL
    process = _Process(pod.dispatcher)
    pod.dispatcher.attach(Engine(cast(InferenceProcess, process), _MODEL.policy, 60.0))
    link = LinkConnection(Endpoints(pod, "0"), _LIMITS, lambda _: None)
    wire = _Wire()
    link.connection_made(cast(asyncio.Transport, wire))
    for each in slices:
        if not wire.was_aborted:
            link.data_received(each)
    await _turns()
    _assert_sound(wire, frames)
    link.connection_lost(None)
    await _turns()
    assert pod.dispatcher.queue.byte_count == 0, "bytes are held for nobody"
    assert pod.dispatcher.queue.row_count == 0, "rows wait for nobody"
    assert pod.dispatcher.idle.is_set(), "a drain would wait for nobody"
    pod.dispatcher.detach()


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _assert_sound(wire: _Wire, heard: Sequence[Frame]) -> None:
    """Every stream of the pod's is answered at most once, and sends no more than the worker gave it room for."""
    written = wire.written
    assert written.startswith(PREFACE) or (wire.was_aborted and not written)
    # A worker that uses a number again may get two answers mixed up: that is its own fault.
    begun = Counter(number for kind, number, _, _ in heard if kind & ~LAST == REQUEST)
    room_bytes: dict[int, int] = {}
    for kind, number, head, _ in heard:
        if kind == CREDIT and len(head) == 4:
            room_bytes[number] = room_bytes.get(number, WINDOW_BYTES) + credited(head)
    ended: set[int] = set()
    for kind, number, head, body in FrameReader().feed(written[len(PREFACE) :]):
        plain = kind & ~LAST
        if begun[number] > 1:
            continue
        assert number not in ended, "a stream goes on after its end"
        if plain == ANSWER:
            assert 200 <= decode_answer(head).status <= 599
        elif plain == DATA and head:
            decode_charge(head)
        elif plain == RESET:
            decode_reset(head)
        else:
            assert plain in (DATA, CREDIT), kind
        room_bytes[number] = room_bytes.get(number, WINDOW_BYTES) - (len(body) if plain in (ANSWER, DATA) else 0)
        assert room_bytes[number] >= 0, "more was sent than there was room for"
        if kind & LAST or plain == RESET:
            ended.add(number)


class _Process:
    """Answers each row with forty times what it got: small rows in a frame, large ones in many."""

    hears = True

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def send(self, message: object, blobs: Sequence[Buffer] = ()) -> None:
        if isinstance(message, Run):
            outcomes = tuple(RowAnswer(blob=row.parts[0].blob) for row in message.rows)
            charged_us = (1,) * len(outcomes)
            ran = Ran(message.batch_id, outcomes, StageTimes(), 0.001, charged_us=charged_us)
            answers = [bytes(blob) * 40 for blob in blobs]
            asyncio.get_running_loop().call_soon(self._dispatcher.on_ran, ran, answers)


class _Wire:
    """A transport that takes everything at once."""

    def __init__(self) -> None:
        self.written = b""
        self.was_aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def writelines(self, pieces: Sequence[Buffer]) -> None:
        self.written += b"".join(pieces)

    def abort(self) -> None:
        self.was_aborted = True

    def is_closing(self) -> bool:
        return self.was_aborted

    def set_write_buffer_limits(self, high: int) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, _: str) -> None:
        return None
