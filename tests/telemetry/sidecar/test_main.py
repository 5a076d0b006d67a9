"""The true sidecar process beside a scripted pod."""

from __future__ import annotations

import asyncio
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
from tests.fakes.pod import Answering, FakePod, Seen

pytestmark = pytest.mark.system

GONE_WITHIN_S = 1.0


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


def _title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the sidecar's own address
        body: bytes = answer.read()
    return body.decode()


@asynccontextmanager
async def running(pod: str) -> AsyncIterator[Sidecar]:
    arguments = ["-m", "telemetry.sidecar", "--pod", pod, "--listen=127.0.0.1:0", "--every-s=0.1"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.PIPE)
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
        async with running(pod.fake.address) as sidecar:
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
        async with running(f"unix:{tmp_path}/none.sock") as sidecar:
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
