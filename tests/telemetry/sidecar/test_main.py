"""The true sidecar process beside a scripted pod, told by packets and exporting to a receiver of ours."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from model_pod.wire.status import PodState, PodStatus
from telemetry.otlp.decode import decode_protobuf
from telemetry.sidecar.http import Answer, Listener, Request
from telemetry.sidecar.intake import open_records
from telemetry.sidecar.serve import FLUSH_WITHIN_S
from tests.fakes.pod import Answering, FakePod, Seen
from tests.telemetry.sidecar.recording import (
    GATEWAY,
    POD,
    batch_times,
    gateway_request,
    packet,
    pod_batch,
    pod_request,
)

pytestmark = pytest.mark.system

GONE_WITHIN_S = 1.0
HEARD_WITHIN_S = 15.0


class ScriptedPod:
    """A pod that says what the test last told it to."""

    def __init__(self, path: Path) -> None:
        self.status = PodStatus("digits", "1", PodState.STARTING)
        self.fake = FakePod(path, self._answer)

    async def _answer(self, seen: Seen, answering: Answering) -> None:
        body = msgspec.json.encode(self.status)
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


class Sidecar:
    """A sidecar in a process of its own, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said: list[str] = []
        self.url = ""

    async def wait_for(self, pattern: str) -> re.Match[str]:
        """Read lines until one matches."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.said.append(line.decode().rstrip("\n"))
            if match := re.fullmatch(pattern, self.said[-1]):
                return match
        raise AssertionError(f"it ended without a line like {pattern!r}: {self.said}")

    async def metrics(self) -> str:
        """Return what a scrape gets."""
        return await asyncio.to_thread(_read, self.url)

    async def end(self) -> tuple[int, str, float]:
        """Return the exit status, what was still said, and how long the end took."""
        asked_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        _, rest = await self.process.communicate()
        return self.process.returncode or 0, rest.decode(), time.monotonic() - asked_s


class Hub:
    """A receiver of spans in this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names: set[str] = set()
        self._arrived = asyncio.Event()

    async def wait_for(self, names: set[str]) -> None:
        """Wait until spans of all these names are here."""
        async with asyncio.timeout(HEARD_WITHIN_S):
            while not names <= self.names:
                await self._arrived.wait()
                self._arrived.clear()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self._path))
        listening.listen()
        async with await Listener(self._answer).listen(listening):
            yield

    def _answer(self, request: Request) -> Answer:
        self.names |= {f"{span.trace_id[:18]} {span.name}" for span in decode_protobuf(request.body).spans}
        self._arrived.set()
        return Answer(200, "application/x-protobuf", b"")


def told(path: Path, packet: bytes) -> None:
    """Tell a sidecar as a recorder does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as recorder:
        recorder.connect(str(path))
        recorder.send(packet)


def _title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the sidecar's own address
        body: bytes = answer.read()
    return body.decode()


@asynccontextmanager
async def running(*options: str, keep_open: tuple[int, ...] = ()) -> AsyncIterator[Sidecar]:
    arguments = ["-m", "telemetry.sidecar", "--listen=127.0.0.1:0", "--every-s=0.1", *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stderr=asyncio.subprocess.PIPE, pass_fds=keep_open
    )
    sidecar = Sidecar(process)
    try:
        sidecar.url = (await sidecar.wait_for(r"sidecar: metrics on (http://.*/metrics)"))[1]
        yield sidecar
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def test_a_pod_is_shown_as_it_starts_is_ready_and_falls_silent(tmp_path: Path) -> None:
    async def story() -> list[str]:
        pod = ScriptedPod(tmp_path / "p.sock")
        async with running("--pod", pod.fake.address) as sidecar:
            await sidecar.wait_for("sidecar: the pod is silent: nothing listens at its address")
            scrapes = [await sidecar.metrics()]
            async with pod.fake:
                await sidecar.wait_for("sidecar digits/1: the pod is starting")
                scrapes.append(await sidecar.metrics())
                pod.status = PodStatus("digits", "1", PodState.READY, queued_rows=7, restarts=2, load_s=0.5)
                await sidecar.wait_for("sidecar digits/1: the pod is ready")
                scrapes.append(await sidecar.metrics())
                title = _title(sidecar.process.pid)
            await sidecar.wait_for("sidecar digits/1: the pod is silent: nothing listens at its address")
            scrapes.append(await sidecar.metrics())
            return [*scrapes, title]

    unheard, starting, ready, silent, title = asyncio.run(story())
    assert 'penstock_pod_up{model="",version=""} 0.0\n' in unheard
    assert 'penstock_pod_up{model="digits",version="1"} 0.0\n' in starting
    assert 'penstock_pod_state{model="digits",state="starting",version="1"} 1.0\n' in starting
    assert 'penstock_pod_up{model="digits",version="1"} 1.0\n' in ready
    assert 'penstock_queue_rows{model="digits",version="1"} 7.0\n' in ready
    assert 'penstock_inference_restarts_total{model="digits",version="1"} 2.0\n' in ready
    assert 'penstock_pod_up{model="digits",version="1"} 0.0\n' in silent
    assert "queue_rows" not in silent
    assert title == "penstock sidecar digits/1"


def test_sigterm_ends_it_at_once_and_quietly_whoever_is_connected(tmp_path: Path) -> None:
    async def story() -> tuple[int, str, float]:
        async with running("--pod", f"unix:{tmp_path}/none.sock") as sidecar:
            await sidecar.wait_for("sidecar: the pod is silent: .*")
            host, port = sidecar.url.removeprefix("http://").removesuffix("/metrics").split(":")
            with socket.create_connection((host, int(port))):
                return await sidecar.end()

    status, said, took_s = asyncio.run(story())
    assert (status, said) == (0, "")
    assert took_s < GONE_WITHIN_S


def test_an_address_that_is_taken_is_2_and_a_sentence_with_the_fix() -> None:
    async def story() -> tuple[int | None, str]:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = f"--listen=127.0.0.1:{taken.getsockname()[1]}"
            arguments = ["-m", "telemetry.sidecar", "--pod=unix:/none", listen]
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.PIPE)
            _, said = await process.communicate()
            return process.returncode, said.decode()

    status, said = asyncio.run(story())
    assert status == 2
    assert re.fullmatch(r"sidecar: cannot listen on 127\.0\.0\.1:\d+ \(.*\); name a free address with --listen\n", said)


def test_a_gateway_s_and_a_pod_s_sidecar_keep_the_same_request_and_its_batch(tmp_path: Path) -> None:
    """Nobody sampled the request; the gateway's keeps it for its status, and the pod's learns of it."""
    batch = batch_times(1)
    ours, other = pod_request(1, batch=batch), pod_request(2, batch=batch)

    async def story() -> set[str]:
        hub = Hub(tmp_path / "hub.sock")
        export = f"--export=unix:{tmp_path}/hub.sock"
        gateway_records, pod_records = tmp_path / "gateway.rec", tmp_path / "pod.rec"
        async with (
            hub.listening(),
            running(export, f"--records=unix:{gateway_records}") as gateway,
            running(
                *("--pod", f"unix:{tmp_path}/none.sock", export, f"--records=unix:{pod_records}"),
                *("--keep-from", gateway.url.removesuffix("/metrics")),
            ) as pod,
        ):
            told(pod_records, packet(POD, ours, other, pod_batch(batch, ours, other)))
            told(gateway_records, packet(GATEWAY, gateway_request(1, status=504), gateway_request(2)))
            await hub.wait_for({f"{1:018x} gateway.request", f"{1:018x} pod.request", f"{500_001:018x} pod.batch"})
            assert 'penstock_pod_attempts_total{code_class="2xx",model="digits"' in await pod.metrics()
            assert _title(gateway.process.pid) == "penstock sidecar gateway"
            return hub.names

    names = asyncio.run(story())
    assert {name.partition(" ")[0] for name in names} == {f"{1:018x}", f"{500_001:018x}"}


def test_at_sigterm_what_was_told_is_still_exported(tmp_path: Path) -> None:
    async def story() -> tuple[int, str, float, set[str]]:
        hub = Hub(tmp_path / "hub.sock")
        records = tmp_path / "r.sock"
        async with (
            hub.listening(),
            running(f"--export=unix:{tmp_path}/hub.sock", f"--records=unix:{records}") as gateway,
        ):
            told(records, packet(GATEWAY, gateway_request(1, sampled=True)))
            return *await gateway.end(), hub.names

    status, said, took_s, names = asyncio.run(story())
    assert (status, said) == (0, "")
    assert names == {f"{1:018x} gateway.request", f"{1:018x} gateway.forward"}
    assert took_s < GONE_WITHIN_S


def test_a_receiver_that_hangs_holds_up_neither_counting_nor_the_end(tmp_path: Path) -> None:
    async def story() -> tuple[int, str, float]:
        records = tmp_path / "r.sock"
        with socket.create_server(("127.0.0.1", 0)) as mute:
            export = f"--export=http://127.0.0.1:{mute.getsockname()[1]}"
            async with running(export, f"--records=unix:{records}") as gateway:
                told(records, packet(GATEWAY, gateway_request(1, sampled=True)))
                async with asyncio.timeout(HEARD_WITHIN_S):
                    while "gateway_requests" not in await gateway.metrics():  # noqa: ASYNC110 - it is another process
                        await asyncio.sleep(0.02)
                return await gateway.end()

    status, said, took_s = asyncio.run(story())
    assert (status, said) == (0, "sidecar: spans are lost at the end: the receiver does not take them\n")
    assert took_s < FLUSH_WITHIN_S + GONE_WITHIN_S


def test_when_the_parent_is_gone_it_leaves_at_once(tmp_path: Path) -> None:
    async def story() -> int:
        lifeline, held = os.pipe()
        os.set_inheritable(lifeline, True)
        async with running(f"--lifeline-fd={lifeline}", keep_open=(lifeline,)) as gateway:
            os.close(lifeline)
            os.close(held)
            return await asyncio.wait_for(gateway.process.wait(), HEARD_WITHIN_S)

    assert asyncio.run(story()) == 0


def test_sockets_may_be_inherited(tmp_path: Path) -> None:
    async def story() -> str:
        hub = Hub(tmp_path / "hub.sock")
        with open_records(str(tmp_path / "r.sock")) as records, socket.create_server(("127.0.0.1", 0)) as http:
            fds = (records.fileno(), http.fileno())
            options = [f"--records-fd={fds[0]}", f"--export=unix:{tmp_path}/hub.sock"]
            told_before = packet(GATEWAY, gateway_request(1, sampled=True))
            told(tmp_path / "r.sock", told_before)  # it waits for the process
            arguments = ["-m", "telemetry.sidecar", f"--listen-fd={fds[1]}", *options]
            async with hub.listening():
                process = await asyncio.create_subprocess_exec(sys.executable, *arguments, pass_fds=fds)
                try:
                    await hub.wait_for({f"{1:018x} gateway.request"})
                    return await asyncio.to_thread(_read, f"http://127.0.0.1:{http.getsockname()[1]}/livez")
                finally:
                    process.kill()
                    await process.wait()

    assert asyncio.run(story()) == "ok\n"
