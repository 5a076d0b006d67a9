"""Whatever a server does, each attempt has a line before it and a line after it that says what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Attempt, End, Ledger, Outcome, read_executions, read_sent
from tests.faults.oracle.answers import refusal
from tests.faults.oracle.oracle import Oracle
from tests.faults.oracle.pod import Connection
from tests.faults.requests import Caller, Mix

CALLER = Caller("", "the-key")  # a pod that is asked directly hears of no tenant
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def sent_to(
    script: Script, folder: Path, *, count: int = 1, open_loop: tuple[float, float] | None = None,
    mix: Mix | None = None, patience_s: float = 5.0, max_attempts: int = 1,
) -> tuple[list[Attempt], list[End]]:  # fmt: skip
    """Return the ledger of a client whose server does as the script says with each connection.

    The client sends `count` requests in two lines, or in an open loop of (requests/s, seconds).
    """

    async def run() -> None:
        server = await asyncio.start_server(script, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            await send(port)

    async def send(port: int) -> None:
        options = Options(mix=mix or Mix(keyed=0.0), patience_s=patience_s, max_attempts=max_attempts)
        with Ledger(folder / "attempts.jsonl") as ledger:
            client = LedgerClient("c", f"http://127.0.0.1:{port}", "/predictions/x", ledger, [CALLER], 1, options)
            await (client.open_loop(*open_loop) if open_loop else client.closed_loop(2, count))

    asyncio.run(run())
    return read_sent(folder / "attempts.jsonl")


def answering(data: bytes) -> Script:
    """A server that answers so and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    return script


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


HALF = b'{"request_id": "1", "tena'


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", Outcome.LOST),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n" + HALF, Outcome.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", Outcome.TRUNCATED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(HALF) + HALF, Outcome.LOOKS_WHOLE),
        (refusal("queue_full", "7"), Outcome.WHOLE),
    ],
)
def test_the_end_of_an_attempt_is_named(data: bytes, outcome: Outcome, tmp_path: Path) -> None:
    attempts, ends = sent_to(answering(data), tmp_path)
    assert len(attempts) == 1
    assert [end.outcome for end in ends] == [outcome]


def test_a_refusal_is_kept_with_what_it_says(tmp_path: Path) -> None:
    _, (end,) = sent_to(answering(refusal("queue_full", "7")), tmp_path)
    assert (end.status, end.reason, end.is_retryable, end.has_retry_after) == (503, "queue_full", True, True)


def test_a_server_that_says_nothing_is_a_hang(tmp_path: Path) -> None:
    _, (end,) = sent_to(silent, tmp_path, patience_s=0.05)
    assert (end.outcome, end.is_hang) == (Outcome.LOST, True)


def test_bytes_after_an_answer_are_kept(tmp_path: Path) -> None:
    _, (end,) = sent_to(answering(refusal("queue_full", "7") * 2), tmp_path)
    assert end.is_followed


def test_nobody_listening_is_an_end_too(tmp_path: Path) -> None:
    with Ledger(tmp_path / "attempts.jsonl") as ledger:
        client = LedgerClient("c", "http://127.0.0.1:9", "/", ledger, [CALLER], 1, Options(max_attempts=2))
        asyncio.run(client.closed_loop(1, 1))
    attempts, ends = read_sent(tmp_path / "attempts.jsonl")
    assert [attempt.attempt for attempt in attempts] == [0, 1]
    assert [end.outcome for end in ends] == [Outcome.NOT_CONNECTED] * 2


def test_a_request_under_a_key_is_sent_again_as_it_was(tmp_path: Path) -> None:
    attempts, ends = sent_to(answering(b""), tmp_path, mix=Mix(keyed=1.0), max_attempts=3)
    assert len({(attempt.payload_sha256, attempt.idempotency_key) for attempt in attempts}) == 1
    assert [end.attempt for end in ends] == [0, 1, 2]


def with_oracle(body: Callable[[LedgerClient, Oracle], Awaitable[None]], folder: Path, mix: Mix) -> None:
    """Run a client against the light oracle, in one loop."""

    async def run() -> None:
        with Ledger(folder / "executions.jsonl") as runs, Ledger(folder / "attempts.jsonl") as ledger:
            oracle = Oracle("a", runs)
            server = await asyncio.get_running_loop().create_server(lambda: Connection(oracle), "127.0.0.1", 0)
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with server:
                await body(LedgerClient("c", url, "/predictions/x", ledger, [CALLER], 1, Options(mix=mix)), oracle)

    asyncio.run(run())


def test_the_oracle_says_which_execution_an_answer_is_of(tmp_path: Path) -> None:
    async def body(client: LedgerClient, oracle: Oracle) -> None:
        await client.closed_loop(4, 60)

    with_oracle(body, tmp_path, Mix(keyed=0.3, chunked=0.3, streamed=0.3))
    attempts, ends = read_sent(tmp_path / "attempts.jsonl")
    payloads = {(one.request, one.attempt): one.payload_sha256 for one in attempts}
    runs = [run for run in read_executions(tmp_path / "executions.jsonl") if run.phase == "end"]
    assert len(ends) == len(runs) == 60
    assert all(end.told and end.told.payload_sha256 == payloads[end.request, end.attempt] for end in ends)
    assert {run.payload_sha256 for run in runs} == set(payloads.values())


def test_an_open_loop_does_not_wait_for_answers(tmp_path: Path) -> None:
    came, all_are_here = 0, asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal came
        await reader.readuntil(b"\r\n\r\n")
        came += 1
        if came == 40:
            all_are_here.set()
        await all_are_here.wait()  # nobody is answered before the last one has asked
        writer.write(refusal("queue_full", "7"))
        await writer.drain()
        writer.close()

    _, ends = sent_to(script, tmp_path, open_loop=(200.0, 0.2), patience_s=60.0)
    assert [end.outcome for end in ends] == [Outcome.WHOLE] * 40


def test_a_ledger_that_was_cut_off_in_a_line_is_read_up_to_it(tmp_path: Path) -> None:
    with Ledger(tmp_path / "attempts.jsonl") as ledger:
        ledger.write(Attempt("c", 1, 0, 1.0, "blue", "sha"))
    with (tmp_path / "attempts.jsonl").open("ab") as file:
        file.write(msgspec.json.encode(Attempt("c", 2, 0, 1.0, "blue", "sha"))[:20])
    attempts, ends = read_sent(tmp_path / "attempts.jsonl")
    assert ([attempt.request for attempt in attempts], ends) == ([1], [])
