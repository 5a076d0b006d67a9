"""The true exporter against a scripted receiver: one that takes, refuses, hangs, dies and comes back."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry.conventions import (
    EXPORT_DISK_FAILURES,
    EXPORT_QUEUE_BYTES,
    EXPORT_QUEUE_SPANS,
    EXPORTED_SPANS,
    EXPORTS,
)
from telemetry.otlp.decode import decode_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.sidecar import export_queue as queue_module
from telemetry.sidecar import exporter as exporter_module
from telemetry.sidecar.config import ANSWER_WITHIN_S, Address, ExportTo
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import PARCEL_SPANS, ExportQueue, Parcel
from telemetry.sidecar.exporter import ANSWER_BYTES, Exporter, rejected_of
from telemetry.sidecar.http import Answer, Listener, Request
from telemetry.sidecar.stored_queue import StoredQueue
from telemetry.span import Kind, Span
from tests.cut_off import cut_off_next


def spans(first: int, count: int) -> list[Span]:
    return [Span("a" * 32, f"{first + n + 1:016x}", "", "x", Kind.INTERNAL, 1, 2) for n in range(count)]


class Receiver:
    """A receiver that answers by a script, and what it took.

    Args:
        statuses: of its answers; when they are over it takes everything.
        said: the body of each answer.
    """

    def __init__(self, *statuses: int, said: bytes = b"") -> None:
        self._statuses = iter(statuses)
        self._said = said
        self.asked = 0
        self.encodings: list[str] = []
        self.taken: list[Span] = []
        self.wanted = 0
        self.enough = asyncio.Event()

    def answer(self, request: Request) -> Answer:
        self.asked += 1
        assert (request.method, request.target) == ("POST", "/v1/traces")
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers["accept-encoding"] == "identity"
        status = next(self._statuses, 200)
        if status == 200:
            self._take(request)
        return Answer(status, "application/x-protobuf", self._said, (("retry-after", "0"),))

    def _take(self, request: Request) -> None:
        encoding = request.headers.get("content-encoding", "")
        self.encodings.append(encoding)
        self.taken += decode_protobuf(gzip.decompress(request.body) if encoding else request.body).spans
        if len(self.taken) >= self.wanted:
            self.enough.set()


class WatchedQueue(StoredQueue):
    """A queue that says when something is asked for once more."""

    def __init__(self, memory: ExportQueue, drops: Drops) -> None:
        super().__init__(memory, drops)
        self.is_tried_again = asyncio.Event()
        self._before: Parcel | None = None

    async def next(self, now_s: float, is_ending: bool = False) -> Parcel | None:
        parcel = await super().next(now_s, is_ending)
        if parcel is not None and parcel is self._before:
            self.is_tried_again.set()
        self._before = parcel
        return parcel


class Exporting:
    """An exporter with its queue, and what it counted."""

    def __init__(self, to: Address, within_s: float = ANSWER_WITHIN_S, base_path: str = "") -> None:
        self.drops = Drops()
        self.memory = ExportQueue(encode_spans, self.drops)
        self.queue = WatchedQueue(self.memory, self.drops)
        self.exporter = Exporter(ExportTo(to, within_s=within_s, base_path=base_path), self.queue)

    def put(self, first: int, count: int) -> None:
        self.memory.put(spans(first, count), asyncio.get_running_loop().time())

    def counted(self) -> dict[tuple[str, ...], object]:
        return {(sample.metric.name, *sample.labels): sample.value for sample in self.exporter.samples()}

    def lost(self) -> dict[tuple[str, ...], object]:
        return {sample.labels: sample.value for sample in self.drops.samples()}


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(queue_module, "PARCEL_AFTER_S", 0.0)
    monkeypatch.setattr(exporter_module, "LOOK_EVERY_S", 0.005)


def beside(
    receiver: Callable[[], Receiver], story: Callable[[Exporting, Receiver], Awaitable[None]], path: Path | None = None
) -> None:
    """Run a story beside a receiver on TCP, or on a Unix socket."""

    async def run() -> None:
        scripted = receiver()
        listening = _listening(path)
        port = 0 if path else listening.getsockname()[1]
        exporting = Exporting(Address(path=str(path)) if path else Address(host="127.0.0.1", port=port))
        async with await Listener(scripted.answer).listen(listening):
            task = asyncio.create_task(exporting.exporter.export())
            async with asyncio.timeout(20.0):
                await story(exporting, scripted)
                await exporting.exporter.finish(10.0)
                await task

    asyncio.run(run())


def _listening(path: Path | None) -> socket.socket:
    if path is None:
        return socket.create_server(("127.0.0.1", 0))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    return listening


async def sent(exporting: Exporting, receiver: Receiver, count: int) -> None:
    receiver.wanted = count
    exporting.put(0, count)
    await receiver.enough.wait()


@pytest.mark.parametrize(("over_unix", "encoding"), [(True, ""), (False, "gzip")])
def test_spans_arrive_once_in_their_order_and_packed_where_that_pays(
    over_unix: bool, encoding: str, tmp_path: Path
) -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        await sent(exporting, receiver, 2 * PARCEL_SPANS)
        assert receiver.taken == spans(0, 2 * PARCEL_SPANS)
        assert set(receiver.encodings) == {encoding}

    beside(Receiver, story, tmp_path / "hub.sock" if over_unix else None)


def test_what_is_small_is_not_packed() -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        await sent(exporting, receiver, 1)
        assert receiver.encodings == [""]

    beside(Receiver, story)


def test_a_receiver_that_has_no_room_now_is_asked_again_and_nothing_is_lost() -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        await sent(exporting, receiver, 3)
        assert receiver.taken == spans(0, 3)
        await exporting.exporter.finish(10.0)
        assert exporting.counted() == {
            (EXPORT_QUEUE_BYTES.name,): 0.0,
            (EXPORT_QUEUE_SPANS.name, "memory"): 0.0,
            (EXPORT_QUEUE_SPANS.name, "disk"): 0.0,
            (EXPORT_DISK_FAILURES.name,): 0.0,
            (EXPORTED_SPANS.name,): 3.0,
            (EXPORTS.name, "taken"): 1.0,
            (EXPORTS.name, "again"): 4.0,
            (EXPORTS.name, "refused"): 0.0,
            (EXPORTS.name, "too_large"): 0.0,
            (EXPORTS.name, "failed"): 0.0,
        }
        assert exporting.lost() == {}

    beside(lambda: Receiver(503, 429, 502, 504), story)


def test_what_a_receiver_refuses_is_lost_counted_and_not_sent_again() -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        exporting.put(0, PARCEL_SPANS)
        exporting.put(PARCEL_SPANS, 1)
        await receiver.enough.wait()
        assert receiver.taken == spans(PARCEL_SPANS, 1)
        assert receiver.asked == 2
        assert exporting.lost() == {("spans", "refused"): float(PARCEL_SPANS)}

    beside(lambda: Receiver(400), story)


@pytest.mark.parametrize("turns", range(0, 40, 2))
def test_an_export_that_is_cut_off_anywhere_leaves_the_next_one_whole(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        cut_off_next(monkeypatch, ANSWER_WITHIN_S, turns)
        await sent(exporting, receiver, 1)
        assert receiver.taken[-1:] == spans(0, 1)

    beside(Receiver, story)


def test_a_receiver_that_hangs_is_given_up_and_asked_again() -> None:
    async def run() -> tuple[int, dict[tuple[str, ...], object]]:
        connections: list[asyncio.StreamWriter] = []
        thrice = asyncio.Event()

        def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.append(writer)
            if len(connections) == 3:
                thrice.set()

        async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
            exporting = Exporting(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), within_s=0.05)
            exporting.put(0, 1)
            task = asyncio.create_task(exporting.exporter.export())
            await asyncio.wait_for(thrice.wait(), 20.0)
            await exporting.exporter.finish(0.01)
            task.cancel()
            await asyncio.wait({task})
            for writer in connections:
                writer.close()
            return len(connections), exporting.counted()

    count, counted = asyncio.run(run())
    assert count >= 3
    assert counted[EXPORTED_SPANS.name,] == 0.0
    assert int(str(counted[EXPORTS.name, "failed"]).partition(".")[0]) >= 2


def refusing(rejected: int) -> bytes:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = rejected
    response.partial_success.error_message = "no room"
    return response.SerializeToString()


# A field that nobody knows, longer than is read of an answer.
LONG = b"\x7a\x80\x80\x08" + bytes(2 * ANSWER_BYTES)


@pytest.mark.parametrize(("rejected", "lost"), [(0, 0), (1, 1), (3, 3), (2**40, 3), (-1, 0)])
def test_what_a_receiver_takes_only_in_part_is_counted(rejected: int, lost: int) -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        await sent(exporting, receiver, 3)
        await exporting.exporter.finish(10.0)
        assert exporting.counted()[EXPORTED_SPANS.name,] == 3.0 - lost
        assert exporting.lost() == ({("spans", "refused"): float(lost)} if lost else {})

    beside(lambda: Receiver(said=refusing(rejected)), story)


@pytest.mark.parametrize("said", [b"\xff", b"<html>", refusing(1) + LONG])
def test_an_answer_that_says_nothing_we_know_is_its_status(said: bytes) -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        await sent(exporting, receiver, 3)
        await exporting.exporter.finish(10.0)
        assert exporting.counted()[EXPORTED_SPANS.name,] == 3.0
        assert exporting.lost() == {}

    beside(lambda: Receiver(said=said), story)


def test_other_content_is_no_answer_of_ours() -> None:
    assert rejected_of("application/x-protobuf; charset=x", refusing(2)) == 2
    assert rejected_of("application/json", refusing(2)) == 0


def test_what_is_too_large_for_a_receiver_is_halved_and_one_span_that_is_too_large_is_lost() -> None:
    async def story(exporting: Exporting, receiver: Receiver) -> None:
        receiver.wanted = 3
        exporting.put(0, 4)
        await receiver.enough.wait()
        await exporting.exporter.finish(10.0)
        assert receiver.taken == [spans(1, 1)[0], *spans(2, 2)]
        assert exporting.lost() == {("spans", "refused"): 1.0}
        assert exporting.counted()[EXPORTS.name, "too_large"] == 3.0

    beside(lambda: Receiver(413, 413, 413), story)


def test_a_parcel_that_no_attempt_brings_through_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter_module, "ATTEMPTS_FOR_S", 0.05)

    async def run() -> tuple[Receiver, dict[tuple[str, ...], object]]:
        receiver = Receiver(said=b"")
        poison = spans(0, 1)[0].span_id.encode()

        def answer(request: Request) -> Answer:
            is_poison = bytes.fromhex(poison.decode()) in request.body
            return Answer(503, "text/plain", b"") if is_poison else receiver.answer(request)

        listening = socket.create_server(("127.0.0.1", 0))
        exporting = Exporting(Address(host="127.0.0.1", port=listening.getsockname()[1]))
        async with await Listener(answer).listen(listening):
            task = asyncio.create_task(exporting.exporter.export())
            exporting.put(0, 1)
            await asyncio.wait_for(exporting.queue.is_tried_again.wait(), 20.0)
            exporting.put(1, 1)
            await asyncio.wait_for(receiver.enough.wait(), 20.0)
            await exporting.exporter.finish(10.0)
            await task
        return receiver, exporting.lost()

    receiver, lost = asyncio.run(run())
    assert receiver.taken == spans(1, 1)
    assert lost == {("spans", "given_up"): 1.0}


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_an_answer_that_drips_has_one_deadline_for_all_of_it(head: bytes) -> None:
    async def run() -> int:
        twice = asyncio.Event()
        drips: list[asyncio.Task[None]] = []

        async def drip(writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(head)
                while True:
                    writer.write(b"1\r\nx\r\n" if b"chunked" in head else b"x-a: b\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.02)  # each sooner than any one read would be given up
            except ConnectionError:
                pass
            finally:
                writer.transport.abort()

        def begin(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            drips.append(asyncio.create_task(drip(writer)))
            if len(drips) == 2:
                twice.set()

        async with await asyncio.start_server(begin, "127.0.0.1", 0) as server:
            exporting = Exporting(Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1]), within_s=0.1)
            exporting.put(0, 1)
            task = asyncio.create_task(exporting.exporter.export())
            await asyncio.wait_for(twice.wait(), 10.0)
            for one in (task, *drips):
                one.cancel()
            await asyncio.wait({task, *drips})
            await asyncio.sleep(0)  # the loop closes what was aborted
            return len(drips)

    assert asyncio.run(run()) >= 2


def test_spans_wait_for_a_receiver_that_is_not_there_and_it_is_told_when_it_begins_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hub.sock"

    async def run() -> Receiver:
        exporting = Exporting(Address(path=str(path)))
        task = asyncio.create_task(exporting.exporter.export())
        exporting.put(0, 2)
        await asyncio.wait_for(exporting.queue.is_tried_again.wait(), 20.0)
        receiver = Receiver()
        async with await Listener(receiver.answer).listen(_listening(path)):
            await asyncio.wait_for(receiver.enough.wait(), 20.0)
            await exporting.exporter.finish(10.0)
            await task
        return receiver

    assert asyncio.run(run()).taken == spans(0, 2)
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" (")[0] for line in said] == [
        "sidecar: spans cannot be exported",
        "sidecar: spans are exported again",
    ]


def test_a_receiver_that_is_away_for_long_gets_all_there_was_room_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exporter_module, "ATTEMPTS_FOR_S", 0.0)
    path = tmp_path / "hub.sock"

    async def run() -> tuple[Receiver, dict[tuple[str, ...], object]]:
        exporting = Exporting(Address(path=str(path)))
        task = asyncio.create_task(exporting.exporter.export())
        exporting.put(0, 2)
        await asyncio.wait_for(exporting.queue.is_tried_again.wait(), 20.0)
        receiver = Receiver()
        async with await Listener(receiver.answer).listen(_listening(path)):
            await asyncio.wait_for(receiver.enough.wait(), 20.0)
            await exporting.exporter.finish(10.0)
            await task
        return receiver, exporting.lost()

    receiver, lost = asyncio.run(run())
    assert (receiver.taken, lost) == (spans(0, 2), {})


def test_header_fields_and_a_path_that_the_receiver_wants_are_sent_and_impossible_ones_told_without_their_value(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def run() -> dict[str, str]:
        asked: list[Request] = []
        came = asyncio.Event()

        def answer(request: Request) -> Answer:
            asked.append(request)
            came.set()
            return Answer(200, "application/x-protobuf", b"")

        listening = socket.create_server(("127.0.0.1", 0))
        exporting = Exporting(Address(host="127.0.0.1", port=listening.getsockname()[1]), base_path="/api/otel")
        wanted = {
            "Authorization": "Bearer s3cret",
            "x-team": " s3cret\n",
            "x-scope": "a b",
            "bad name": "s3cret",
            "x-line": "s3cret\r\nx: y",
        }
        exporting.exporter.heed(wanted | {"content-type": "s3cret"})
        async with await Listener(answer).listen(listening):
            task = asyncio.create_task(exporting.exporter.export())
            exporting.put(0, 1)
            await asyncio.wait_for(came.wait(), 20.0)
            await exporting.exporter.finish(10.0)
            await task
        assert asked[0].target == "/api/otel/v1/traces"
        return dict(asked[0].headers)

    headers = asyncio.run(run())
    assert headers["authorization"] == "Bearer s3cret"
    assert headers["x-team"] == "s3cret"
    assert (headers["x-scope"], headers["content-type"]) == ("a b", "application/x-protobuf")
    assert "x-line" not in headers
    said = capsys.readouterr().err
    assert said.count("is left out") == 3
    assert "s3cret" not in said


def test_at_the_end_a_dead_receiver_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> float:
        exporting = Exporting(Address(path=str(tmp_path / "none.sock")))
        exporting.put(0, 1)
        task = asyncio.create_task(exporting.exporter.export())
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        await exporting.exporter.finish(0.1)
        took_s = loop.time() - asked_s
        task.cancel()
        await asyncio.wait({task})
        return took_s

    assert asyncio.run(run()) < 2.0
    assert "lost at the end" in capsys.readouterr().err
