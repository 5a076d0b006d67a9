"""Handlers that answer in pieces, in a true pod: many at once, slow readers, readers who leave, and honest ends."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from tests.benchmarks.processes import Program, running
from tests.fakes.archives.layout import archive_files, write_directory
from tests.fakes.streams import HANDLER, Asked, Streamed, read_answer, read_chunk, read_head
from tests.system.conftest import Figure
from tests.system.mesh import eventually

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

T = TypeVar("T")
STREAM_COUNT = 50
RECORDED = Path(__file__).parents[1] / "conformance" / "torchserve" / "archives" / "stream"
# What a slow reader may cost the pod's server, and as much again for the objects around it.
SLOW_READER_BYTES = 2 * 64 * 1024
OTHER_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class StreamPod:
    """A pod that runs and whose handler writes down what it sees."""

    program: Program
    path: str
    ledger: Path

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Open a connection, and close it."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):  # it may have been aborted
                await writer.wait_closed()

    async def ask(self, asked: Asked, fields: str = "") -> Streamed:
        """Ask, and read to the end."""
        async with self.connection() as (reader, writer):
            writer.write(asked.request("/predictions/stream", fields))
            return await read_answer(reader)

    def noted(self, word: str, name: str) -> tuple[float, str] | None:
        """Return when the handler first noted this of a request, and what else it noted."""
        for line in self.ledger.read_text().splitlines() if self.ledger.exists() else []:
            at_s, what, whose, *more = line.split()
            if (what, whose) == (word, name):
                return float(at_s), " ".join(more)
        return None

    async def until_noted(self, word: str, name: str) -> float:
        """Wait for a note of the handler; return its moment."""
        async with asyncio.timeout(60):
            while (noted := self.noted(word, name)) is None:  # noqa: ASYNC110  another process writes the ledger
                await asyncio.sleep(0.01)
        return noted[0]

    def memory_bytes(self) -> int:
        """Return what the pod's server process holds in memory."""
        status = Path(f"/proc/{self.program.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


def run(scenario: Coroutine[object, object, T]) -> T:
    """Run a scenario within a bound."""

    async def bounded() -> T:
        async with asyncio.timeout(180):
            return await scenario

    return asyncio.run(bounded())


@contextmanager
def serving(archive: Path, home: Path) -> Iterator[StreamPod]:
    """Run a pod and wait until it is ready."""
    with running(arguments(archive, home), cores=os.sched_getaffinity(0), log=home / "log") as program:
        pod = StreamPod(program, f"{home}/pod.sock", home / "ledger.txt")
        eventually(lambda: is_ready(pod), "the pod is ready")
        yield pod


def is_ready(pod: StreamPod) -> bool:
    """Return whether the pod answers inferences."""
    pod.program.must_run()
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.connect(pod.path)
        connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nhost: pod\r\n\r\n")
        return connection.recv(4096).startswith(b"HTTP/1.1 200 ")
    return False


def arguments(archive: Path, home: Path) -> list[str]:
    """Return the command line of a pod."""
    return [
        *(sys.executable, "-m", "model_pod.server", "--model", "stream", "--version", "1"),
        *("--archive", str(archive), "--listen", f"unix:{home}/pod.sock", "--extracted-dir", str(home / "extracted")),
        # What comes while another batch runs shares the next one.
        *("--device", "cpu", "--max-rows", "64", "--max-wait-s", "0.2"),
    ]


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamPod]:
    home = tmp_path_factory.mktemp("streams")
    handler = HANDLER.format(ledger=str(home / "ledger.txt"))
    archive = write_directory(home / "archive", archive_files(handler))
    with serving(archive, home) as pod:
        yield pod


def test_fifty_streams_at_once_get_each_their_own_pieces(streams: StreamPod) -> None:
    asked = [Asked(f"at-once-{index}", steps=20, pause_s=0.01) for index in range(STREAM_COUNT)]

    async def all_at_once() -> list[Streamed]:
        return await asyncio.gather(*(streams.ask(one) for one in asked))

    answers = run(all_at_once())
    assert [answer.body for answer in answers] == [one.answer() for one in asked]
    assert all(answer.is_whole and answer.headers["content-type"] == "text/event-stream" for answer in answers)
    shared = [noted for one in asked if (noted := streams.noted("runs", one.name))]
    assert len(shared) == STREAM_COUNT
    assert max(int(rows) for _, rows in shared) > STREAM_COUNT // 2


def test_pieces_come_while_the_handler_still_runs(streams: StreamPod) -> None:
    async def first_piece() -> tuple[bytes, bool]:
        async with streams.connection() as (reader, writer):
            writer.write(Asked("early", steps=2, pause_s=1.0).request("/predictions/stream"))
            answer = await read_head(reader)
            await read_chunk(reader, answer)
            has_ended = streams.noted("gone", "early") is not None
        await streams.until_noted("gone", "early")
        return answer.body, has_ended

    assert run(first_piece()) == (b"early0 ", False)


def test_slow_readers_cost_the_pod_little_and_lose_nothing(streams: StreamPod, figure: Figure) -> None:
    # 50 answers of 2 MiB: unbounded they would be 100 MiB.
    asked = [Asked(f"{index:02}", steps=128, repeat=8192) for index in range(STREAM_COUNT)]

    async def read_late() -> tuple[int, list[Streamed]]:
        # It runs while the others arrive, so that they share one batch.
        before = asyncio.ensure_future(streams.ask(Asked("before", steps=256, pause_s=0.01, repeat=4096)))
        await streams.until_noted("runs", "before")
        async with AsyncExitStack() as opened:
            connections = [await opened.enter_async_context(streams.connection()) for _ in asked]
            for one, (_, writer) in zip(asked, connections, strict=True):
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket, so it reads too
                writer.write(one.request("/predictions/stream"))
            assert (await before).is_whole
            before_bytes = streams.memory_bytes()
            await streams.until_noted("runs", asked[-1].name)
            await asyncio.sleep(1.0)  # what can be sent to readers who do not read has been sent
            held_bytes = streams.memory_bytes() - before_bytes
            for _, writer in connections:
                writer.transport.resume_reading()  # type: ignore[attr-defined]
            answers = await asyncio.gather(*(read_answer(reader) for reader, _ in connections))
        return held_bytes, answers

    held_bytes, answers = run(read_late())
    assert [answer.body == one.answer() for answer, one in zip(answers, asked, strict=True)] == [True] * STREAM_COUNT
    assert held_bytes < STREAM_COUNT * SLOW_READER_BYTES + OTHER_BYTES
    figure(f"{STREAM_COUNT} readers who do not read: the pod's server grew by", f"{held_bytes / 2**20:.1f} MiB")


def test_the_handler_learns_at_once_that_a_reader_left_and_the_others_get_everything(
    streams: StreamPod, figure: Figure
) -> None:
    """At once: long before it has sent everything, or it would not note it."""
    stays = [Asked(f"stays-{index}", steps=200, pause_s=0.01) for index in range(4)]

    async def leave() -> tuple[float, list[Streamed]]:
        blocking = asyncio.ensure_future(streams.ask(Asked("first", steps=50, pause_s=0.02)))
        await streams.until_noted("runs", "first")  # so that the next ones share a batch
        async with streams.connection() as (reader, writer):
            writer.write(Asked("leaves", steps=200, pause_s=0.01).request("/predictions/stream"))
            staying = [asyncio.ensure_future(streams.ask(one)) for one in stays]
            await read_chunk(reader, await read_head(reader))
            left_s = time.monotonic()
        learned_s = await streams.until_noted("gone", "leaves") - left_s
        await blocking
        return learned_s, await asyncio.gather(*staying)

    learned_s, answers = run(leave())
    assert [answer.body for answer in answers] == [one.answer() for one in stays]
    noted = streams.noted("runs", "leaves")
    assert noted is not None
    assert noted[1] == "5"
    figure("a reader leaves a stream: its handler knows after", f"{learned_s * 1e3:.1f} ms")


def test_a_handler_that_nobody_listens_to_is_stopped(streams: StreamPod) -> None:
    async def leave() -> None:
        async with streams.connection() as (reader, writer):
            writer.write(Asked("alone", steps=100_000, pause_s=0.005).request("/predictions/stream"))
            await read_head(reader)
        await streams.until_noted("nobody", "alone")
        assert (await streams.ask(Asked("after", steps=1))).is_whole

    run(leave())


def test_a_stream_that_fails_in_the_middle_ends_so_that_its_reader_can_tell(streams: StreamPod) -> None:
    answer = run(streams.ask(Asked("fails", steps=5, fails_at=3)))
    assert (answer.status, answer.body, answer.is_whole) == (200, b"fails0 fails1 fails2 ", False)
    assert streams.noted("runs", "fails") is not None
    assert streams.ledger.read_text().count(" runs fails ") == 1


def test_a_stream_that_fails_before_its_first_piece_is_an_ordinary_refusal(streams: StreamPod) -> None:
    answer = run(streams.ask(Asked("early-failure", fails_at=0)))
    assert (answer.status, answer.headers["penstock-reason"]) == (500, "handler_failed")
    assert b"in the middle of a stream" in answer.body


def test_a_deadline_in_the_middle_of_a_stream_cuts_it(streams: StreamPod) -> None:
    asked = Asked("late", steps=100_000, pause_s=0.01)
    answer = run(streams.ask(asked, "penstock-timeout-ms: 2000\r\n"))
    assert (answer.status, answer.is_whole) == (200, False)
    assert answer.body.startswith(b"late0 late1 ")
    run(streams.until_noted("nobody", "late"))


def test_a_process_that_dies_cuts_its_streams_and_the_next_one_serves_on(streams: StreamPod) -> None:
    answer = run(streams.ask(Asked("dies", steps=5, pause_s=0.05, dies_at=2)))
    assert (answer.status, answer.body, answer.is_whole) == (200, b"dies0 dies1 ", False)
    assert run(streams.ask(Asked("again"))).body == Asked("again").answer()


def test_the_recorded_archive_streams_as_torchserve_s_does(tmp_path: Path) -> None:
    with serving(RECORDED, tmp_path) as pod:
        answer = run(pod.ask(Asked("x")))
        boom = run(pod.ask(Asked("boom")))
    assert (answer.status, answer.headers["x-chunk"], answer.headers["transfer-encoding"]) == (200, "0", "chunked")
    assert (answer.chunks, answer.is_whole) == ([b"c0 ", b"c1 ", b"c2 ", b"last"], True)
    assert "ts_stream_next" not in answer.headers
    assert (boom.chunks, boom.is_whole) == ([b"c0 ", b"c1 ", b"c2 "], False)
