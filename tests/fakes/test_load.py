"""The load client against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.fakes.ledger import Ledger, judge, read_entries
from tests.fakes.load import DEFAULT_OPTIONS, LoadOptions, closed_loop, open_loop
from tests.fakes.records import Outcome, Record, summarize

Answer = Callable[[int, asyncio.StreamWriter], Awaitable[bool]]  # (request index, writer) -> keep the connection
Drive = Callable[[str], Coroutine[Any, Any, list[Record]]]
SHORT = LoadOptions(patience_s=0.3, connect_within_s=1.0)


def whole(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *fields]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def make_request(index: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nhost: test\r\n\r\n" % index


def is_echo(index: int, status: int, body: bytes) -> bool:
    return status == 200 and body == b"%d" % index


def drive_against(answer: Answer, drive: Drive) -> list[Record]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if not await answer(int(head.split(b" ")[1][1:]), writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def main() -> list[Record]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await drive(f"http://127.0.0.1:{port}")

    return uvloop.run(main())


def closed(count: int, options: LoadOptions = DEFAULT_OPTIONS, connections: int = 1) -> Drive:
    bounded = LoadOptions(
        options.patience_s, options.connect_within_s, options.is_connection_per_request, max_requests=count
    )

    async def drive(address: str) -> list[Record]:
        return await closed_loop(
            address,
            connections=connections,
            duration_s=10.0,
            make_request=make_request,
            check=is_echo,
            options=bounded,
        )

    return drive


async def echo(index: int, writer: asyncio.StreamWriter) -> bool:
    writer.write(whole(b"%d" % index))
    return True


def test_a_closed_loop_gets_whole_right_answers_over_kept_connections() -> None:
    records = drive_against(echo, closed(200, connections=4))
    assert len(records) == 200
    assert {record.outcome for record in records} == {Outcome.WHOLE}
    assert all(record.is_right for record in records)
    assert sum(record.connection_use == 0 for record in records) == 4


def test_a_connection_per_request_is_fresh_each_time() -> None:
    records = drive_against(echo, closed(20, LoadOptions(is_connection_per_request=True)))
    assert [record.connection_use for record in records] == [0] * 20


def test_answers_in_chunks_after_100_continue_and_in_single_bytes_are_read() -> None:
    async def drip(index: int, writer: asyncio.StreamWriter) -> bool:
        chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n%d\r\n0\r\n\r\n" % index
        for byte in b"HTTP/1.1 100 Continue\r\n\r\n" + chunked:
            writer.write(bytes([byte]))
            await writer.drain()
        return True

    assert all(record.is_right for record in drive_against(drip, closed(3)))


def test_an_answer_to_another_request_is_wrong() -> None:
    async def mix_up(index: int, writer: asyncio.StreamWriter) -> bool:
        return await echo(index + 1, writer)

    summary = summarize(drive_against(mix_up, closed(3)))
    assert (summary.wrong, summary.right) == (3, 0)


def test_a_cut_answer_is_truncated_and_the_next_request_has_a_new_connection() -> None:
    async def cut_first(index: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(whole(b"0")[:-1] if index == 0 else whole(b"%d" % index))
        return index > 0

    records = drive_against(cut_first, closed(2))
    assert [record.outcome for record in records] == [Outcome.TRUNCATED, Outcome.WHOLE]
    assert [record.connection_use for record in records] == [0, 0]


def test_a_connection_closed_before_any_byte_is_lost() -> None:
    async def hang_up(index: int, writer: asyncio.StreamWriter) -> bool:
        return False

    records = drive_against(hang_up, closed(2))
    assert [record.outcome for record in records] == [Outcome.LOST, Outcome.LOST]


def test_silence_ends_with_the_client_s_patience() -> None:
    async def say_nothing(index: int, writer: asyncio.StreamWriter) -> bool:
        return True

    (record,) = drive_against(say_nothing, closed(1, SHORT))
    assert record.outcome is Outcome.LOST
    assert record.why == "no whole answer within 0.3 s"


def test_a_port_nobody_listens_on_is_not_connected() -> None:
    with socket.socket() as unlistened:
        unlistened.bind(("127.0.0.1", 0))
        records = uvloop.run(closed(2)(f"127.0.0.1:{unlistened.getsockname()[1]}"))
    assert [record.outcome for record in records] == [Outcome.NOT_CONNECTED] * 2
    assert all("ConnectionRefusedError" in record.why for record in records)


def test_a_queued_connection_that_is_thrown_away_is_lost_on_a_fresh_connection() -> None:
    class CloseTheListener:
        def sending(self, index: int, request: bytes) -> None:
            listener.close()  # the connection waits in its backlog

        def settled(self, record: Record) -> None:
            return None

    with socket.create_server(("127.0.0.1", 0)) as listener:
        load = closed_loop(
            f"127.0.0.1:{listener.getsockname()[1]}",
            connections=1,
            duration_s=5.0,
            make_request=make_request,
            check=is_echo,
            options=LoadOptions(max_requests=1),
            watch=CloseTheListener(),
        )
        (record,) = uvloop.run(load)
    assert (record.outcome, record.connection_use) == (Outcome.LOST, 0)


def test_a_second_answer_is_noticed_in_the_same_segment_and_later() -> None:
    async def answer_twice(index: int, writer: asyncio.StreamWriter) -> bool:
        writer.write(whole(b"%d" % index) * 2)
        return True

    records = drive_against(answer_twice, closed(2))
    assert [record.is_followed for record in records] == [True, True]
    assert all(record.is_right for record in records)


def test_an_open_loop_keeps_its_schedule_and_counts_the_wait_behind_a_stall() -> None:
    async def stall_first(index: int, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(0.1 if index == 0 else 0)
        return await echo(index, writer)

    async def drive(address: str) -> list[Record]:
        options = LoadOptions(max_connections=1)
        return await open_loop(
            address, rate_per_s=200, duration_s=0.1, make_request=make_request, check=is_echo, options=options
        )

    records = drive_against(stall_first, drive)
    intended_s = [record.intended_s for record in records]
    assert len(records) == 20
    assert intended_s[10] - intended_s[0] == pytest.approx(0.05)
    assert all(record.latency_s > 0.1 - 0.005 * record.index - 0.003 for record in records)


def test_an_open_loop_that_is_over_waits_for_what_is_under_way_and_sends_nothing_more() -> None:
    over = asyncio.Event()

    async def end_at_the_third(index: int, writer: asyncio.StreamWriter) -> bool:
        if index == 2:
            over.set()
            await asyncio.sleep(0.05)
        return await echo(index, writer)

    async def drive(address: str) -> list[Record]:
        return await open_loop(
            address, rate_per_s=100, duration_s=60, make_request=make_request, check=is_echo, until=over
        )

    records = drive_against(end_at_the_third, drive)
    assert 3 <= len(records) < 100
    assert all(record.is_right for record in records)


def test_an_open_loop_of_more_requests_than_allowed_is_refused_at_once() -> None:
    drive = open_loop("127.0.0.1:1", rate_per_s=1e6, duration_s=10, make_request=make_request, check=is_echo)
    with pytest.raises(ValueError, match="shorten the run"):
        asyncio.run(drive)


def test_a_failing_request_maker_ends_the_load_with_its_own_error() -> None:
    def fail(index: int) -> bytes:
        raise LookupError(f"no request {index}")

    async def drive(address: str) -> list[Record]:
        return await open_loop(address, rate_per_s=100, duration_s=0.1, make_request=fail, check=is_echo, options=SHORT)

    with pytest.raises(LookupError, match="no request 0"):
        drive_against(echo, drive)


def test_the_ledger_of_a_load_says_what_was_sent_and_refused(tmp_path: Path) -> None:
    async def refuse_odd(index: int, writer: asyncio.StreamWriter) -> bool:
        fields = [b"x-request-id: r%d" % index]
        if index % 2:
            writer.write(whole(b"{}", *fields, b"penstock-reason: queue_full", status=b"503 No"))
        else:
            writer.write(whole(b"%d" % index, *fields))
        return True

    path = tmp_path / "ledger.jsonl"
    with Ledger(path, "client-1") as ledger:

        async def drive(address: str) -> list[Record]:
            return await open_loop(
                address,
                rate_per_s=200,
                duration_s=0.05,
                make_request=make_request,
                check=is_echo,
                options=LoadOptions(keeps_headers=True),
                watch=ledger,
            )

        drive_against(refuse_odd, drive)
    verdict = judge(read_entries(path), reasons={"queue_full"}, executed=[f"r{index}" for index in range(0, 10, 2)])
    assert verdict.is_clean
    assert (verdict.attempts, verdict.unfinished) == (10, 0)


def test_a_failing_check_ends_the_load_with_its_own_error() -> None:
    def fail(index: int, status: int, body: bytes) -> bool:
        raise LookupError("no such answer")

    async def drive(address: str) -> list[Record]:
        return await closed_loop(address, connections=1, duration_s=5, make_request=make_request, check=fail)

    with pytest.raises(LookupError, match="no such answer"):
        drive_against(echo, drive)
