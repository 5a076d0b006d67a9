"""The oracle runs a payload once, says which execution an answer is of, and remembers by key."""

from __future__ import annotations

import asyncio
import zipfile
from io import BytesIO
from pathlib import Path

import msgspec
import pytest

from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    DATA,
    LAST,
    PREFACE,
    REQUEST,
    RESET,
    FrameReader,
    PodRequest,
    Reset,
    credited,
    decode_answer,
    encode_head,
    frame,
)
from tests.faults.ledgers import Ledger, Told, read_executions
from tests.faults.oracle.answers import PIECES_HEADER, Behaviour, cost_us, sha256_of
from tests.faults.oracle.archive import oracle_archive
from tests.faults.oracle.link import LinkEnd, Preface
from tests.faults.oracle.oracle import Oracle, Row
from tests.faults.oracle.pod import HttpReply


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "executions.jsonl"


def submitted(oracle: Oracle, payload: bytes, key: str = "", **fields: str) -> tuple[Row, list[bytes]]:
    """Give the oracle a request; return it and what is answered."""
    written: list[bytes] = []
    named = {"x-request-id": "1", "penstock-tenant": "blue", "idempotency-key": key, **fields}
    row = Row(named, payload, HttpReply(written.append))
    oracle.submit(row)
    return row, written


def told(written: list[bytes]) -> Told:
    return msgspec.json.decode(b"".join(written).rpartition(b"\r\n")[2], type=Told)


def test_an_answer_names_its_execution_and_its_cost(ledger: Path) -> None:
    with Ledger(ledger) as lines:
        _, written = submitted(Oracle("a", lines), b"hello")
    start, end = read_executions(ledger)
    assert (start.phase, end.phase, start.seq, end.seq) == ("start", "end", 1, 1)
    assert told(written).payload_sha256 == sha256_of(b"hello") == start.payload_sha256
    assert f"device_us={cost_us(sha256_of(b'hello'))};".encode() in written[0]


def test_a_key_is_answered_from_memory(ledger: Path) -> None:
    with Ledger(ledger) as lines:
        oracle = Oracle("a", lines)
        _, first = submitted(oracle, b"hello", "k")
        _, again = submitted(oracle, b"hello", "k")
        _, other = submitted(oracle, b"other", "k")
        _, of_another = submitted(oracle, b"hello", "k", **{"penstock-tenant": "red"})
    assert told(first) == told(again)
    assert b"idempotency-replayed: true" in again[0]
    assert b"device_us=0;" in again[0]
    assert b" 422 " in other[0]
    assert told(of_another).tenant == "red"
    assert len([run for run in read_executions(ledger) if run.phase == "start"]) == 2


def test_a_key_that_runs_is_in_progress_and_runs_on_without_its_caller(ledger: Path) -> None:
    async def run() -> None:
        oracle.behaviour = Behaviour(delay_s=0.01)
        row, written = submitted(oracle, b"hello", "k")
        row.is_wanted = False
        _, again = submitted(oracle, b"hello", "k")
        assert b"idempotency_in_progress" in again[0]
        await asyncio.sleep(0.5)
        assert written == []
        _, later = submitted(oracle, b"hello", "k")
        assert told(later).seq == 1

    with Ledger(ledger) as lines:
        oracle = Oracle("a", lines)
        asyncio.run(run())


def test_what_waits_is_not_run_when_its_caller_is_gone(ledger: Path) -> None:
    async def run() -> None:
        oracle.behaviour = Behaviour(delay_s=0.1, at_once=1)
        submitted(oracle, b"first")
        row, _ = submitted(oracle, b"second")
        _, third = submitted(oracle, b"third")
        row.is_wanted = False
        await asyncio.sleep(0.6)
        assert told(third).seq == 2

    with Ledger(ledger) as lines:
        oracle = Oracle("a", lines)
        asyncio.run(run())
    assert sha256_of(b"second") not in {run.payload_sha256 for run in read_executions(ledger)}


def test_an_answer_in_pieces_ends_with_its_execution(ledger: Path) -> None:
    async def run() -> list[bytes]:
        _, written = submitted(oracle, b"hello", **{PIECES_HEADER: "3"})
        await asyncio.sleep(0.5)
        return written

    with Ledger(ledger) as lines:
        oracle = Oracle("a", lines)
        written = asyncio.run(run())
    assert len(written) == 5
    assert written[-1].endswith(b"}\r\n0\r\n\r\n")


def test_a_refusing_oracle_runs_nothing(ledger: Path) -> None:
    with Ledger(ledger) as lines:
        oracle = Oracle("a", lines)
        oracle.behaviour = Behaviour(refuse="queue_full")
        _, written = submitted(oracle, b"hello")
    assert written[0].startswith(b"HTTP/1.1 503 ")
    assert (oracle.requests, oracle.refused) == (1, 1)
    assert read_executions(ledger) == []


def test_the_archive_holds_the_handler_and_where_its_ledger_lies(tmp_path: Path) -> None:
    with zipfile.ZipFile(BytesIO(oracle_archive(tmp_path / "ledger", delay_s=0.5))) as archive:
        settings = msgspec.json.decode(archive.read("oracle.json"))
        assert "def handle" in archive.read("handler.py").decode()
    assert settings == {"ledger": str(tmp_path / "ledger"), "delay_s": 0.5, "pod": "oracle"}


def over_the_link(end: LinkEnd, number: int, request: PodRequest, body: bytes) -> None:
    """Send a request with a body in two frames."""
    end.feed(b"".join(frame(REQUEST, number, encode_head(request), body[:2])))
    end.feed(b"".join(frame(DATA | LAST, number, b"", body[2:])))


def asked(key: str = "", fields: list[tuple[bytes, bytes]] | None = None) -> PodRequest:
    return PodRequest("POST", "/predictions/oracle", "1", "blue", "", 1000, 5, key, fields or [])


def test_the_link_answers_each_stream_and_credits_its_body(ledger: Path) -> None:
    written: list[bytes] = []
    with Ledger(ledger) as lines:
        end = LinkEnd(Oracle("a", lines), written.append)
        over_the_link(end, 1, asked("k"), b"hello")
        over_the_link(end, 2, asked("k"), b"hello")
    assert written.pop(0) == PREFACE
    frames = FrameReader().feed(b"".join(written))
    credited_bytes = sum(credited(head) for kind, _, head, _ in frames if kind == CREDIT)
    first, again = [(number, decode_answer(head), body) for kind, number, head, body in frames if kind == ANSWER | LAST]
    assert credited_bytes == 10
    assert (first[0], again[0]) == (1, 2)
    assert first[2] == again[2]
    assert (first[1].device_us, again[1].device_us) == (cost_us(sha256_of(b"hello")), 0)
    assert b"idempotency-replayed: true" in again[1].fields
    assert msgspec.json.decode(first[2], type=Told).tenant == "blue"


def test_a_stream_that_is_reset_or_lost_is_not_run(ledger: Path) -> None:
    def begun() -> list[str]:
        return [run.payload_sha256 for run in read_executions(ledger) if run.phase == "start"]

    async def run() -> None:
        oracle.behaviour = Behaviour(delay_s=0.3, at_once=1)
        end = LinkEnd(oracle, written.append)
        for number, body in enumerate((b"first", b"reset", b"after", b"waits"), 1):
            over_the_link(end, number, asked(), body)
        end.feed(b"".join(frame(RESET, 2, encode_head(Reset("client_gone")))))
        while len(begun()) < 2:  # noqa: ASYNC110 - the oracle tells nobody
            await asyncio.sleep(0.01)
        end.lost()
        await asyncio.sleep(0.8)

    written: list[bytes] = []
    with Ledger(ledger) as lines:
        oracle = Oracle("a", lines)
        asyncio.run(run())
    assert begun() == [sha256_of(b"first"), sha256_of(b"after")]


def test_an_answer_in_pieces_over_the_link_ends_with_its_execution(ledger: Path) -> None:
    async def run() -> list[bytes]:
        written: list[bytes] = []
        end = LinkEnd(oracle, written.append)
        over_the_link(end, 1, asked(fields=[(PIECES_HEADER.encode(), b"3")]), b"hello")
        await asyncio.sleep(0.5)
        return written

    with Ledger(ledger) as lines:
        oracle = Oracle("a", lines)
        frames = FrameReader().feed(b"".join(asyncio.run(run())[1:]))
    kinds = [kind for kind, _, _, _ in frames if kind != CREDIT]
    assert kinds == [ANSWER, DATA, DATA, DATA, DATA | LAST]
    assert msgspec.json.decode(frames[-1][3], type=Told).request_id == "1"


@pytest.mark.parametrize("size", [1, 5, len(PREFACE)])
def test_a_link_is_told_from_http_by_its_first_bytes(size: int) -> None:
    for data, is_link in ((PREFACE + b"frames", True), (b"GET /penstock/pod HTTP/1.1\r\n\r\n", False)):
        preface, judged = Preface(), None
        for at in range(0, len(data), size):
            judged = preface.take(data[at : at + size])
            if judged is not None:
                break
        assert judged is not None
        assert judged[0] is is_link
