"""One question to a scripted pod on a true Unix socket."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from model_pod.wire.status import STATUS_PATH, PodState, PodStatus
from telemetry.sidecar import ask as ask_module
from telemetry.sidecar.account import PodAccount, PodSilent, State
from telemetry.sidecar.ask import ANSWER_BYTES, ask
from telemetry.sidecar.config import Address
from tests.fakes.pod import Answering, FakePod, Script, Seen, babble, cut_short, die, never

BODY = msgspec.json.encode(PodStatus("digits", "1", PodState.READY))


async def ready(seen: Seen, answering: Answering) -> None:
    """Answer as a pod does that would go on with the connection."""
    answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY))


async def endless(seen: Seen, answering: Answering) -> None:
    """Answer more than any status is."""
    answering.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * ANSWER_BYTES)


def asked(pod: FakePod) -> PodAccount:
    async def question() -> PodAccount:
        async with pod:
            return await ask(Address(path=str(pod.path)))

    return asyncio.run(question())


def test_a_pod_is_asked_for_its_account_on_a_connection_of_its_own(tmp_path: Path) -> None:
    pod = FakePod(tmp_path / "p.sock", ready)
    assert asked(pod) == PodAccount("digits", "1", State.READY, 0, 0, 0, 0.0)
    (seen,) = pod.seen
    assert seen.line == f"GET {STATUS_PATH} HTTP/1.1"
    assert seen.fields == {"host": "pod", "connection": "close"}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (die, "reset|not HTTP"),
        (babble, "no answer"),
        (cut_short, "not HTTP"),
        (never, "no answer"),
        (endless, "longer"),
    ],
)
def test_a_pod_that_gives_no_account_is_silent(
    script: Script, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_module, "ANSWER_WITHIN_S", 0.1 if why == "no answer" else 20.0)
    with pytest.raises(PodSilent, match=why):
        asked(FakePod(tmp_path / "p.sock", script))


def test_where_nothing_listens_there_is_silence(tmp_path: Path) -> None:
    with pytest.raises(PodSilent, match="nothing listens"):
        asyncio.run(ask(Address(path=str(tmp_path / "none.sock"))))


def test_a_pod_on_tcp_is_asked_by_its_name() -> None:
    heads: list[bytes] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)  # of no length: it ends with the connection
        writer.close()

    async def question() -> tuple[PodAccount, int]:
        async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await ask(Address(host="127.0.0.1", port=port)), port

    account, port = asyncio.run(question())
    assert account.model == "digits"
    assert f"host: 127.0.0.1:{port}\r\n".encode() in heads[0]
