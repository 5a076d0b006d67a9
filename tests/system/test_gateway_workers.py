"""Workers of a running gateway that are stopped, replaced or short of descriptors, and what callers notice of it.

PENSTOCK_RESTARTS makes so many rounds of the rolling restart.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.fakes.pod import Answering, Seen
from tests.system.conftest import Figure
from tests.system.gateway_alone import GatewayAlone, gateway_alone
from tests.system.processes import of_session, stopped

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

CALLERS = 8
CONNECTIONS = 1000  # four times as many as there are descriptors
ROUNDS = int(os.environ.get("PENSTOCK_RESTARTS", "2"))
# The watchdog's promise, a second between two counts and one between two looks, and slack for a swamped machine.
HUNG_WORKER_GONE_WITHIN_S = 25.0
# It looks for descriptors every second.
WELL_WITHIN_S = 15.0


async def pod(seen: Seen, answering: Answering) -> None:
    """Echo at once."""
    answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen.body), seen.body))


class Caller:
    """Sends one request after the other, on a connection that it keeps for as long as it is let.

    Attributes:
        latencies_s: of answers that were right.
        failed: what came instead.
    """

    def __init__(self, gateway: GatewayAlone, *, is_fresh: bool = False) -> None:
        self._gateway = gateway
        self._is_fresh = is_fresh
        self.latencies_s: list[float] = []
        self.failed: list[str] = []

    async def call_until(self, is_over: Callable[[], bool]) -> None:
        """Call until it is over."""
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        number = 0
        while not is_over():
            number += 1
            connection = connection or await asyncio.open_connection(*self._gateway.address)
            keeps = await self._once(*connection, b"body-%d" % number)
            if not keeps or self._is_fresh:
                connection[1].transport.abort()
                connection = None
            await asyncio.sleep(0.002)
        if connection is not None:
            connection[1].transport.abort()

    async def _once(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> bool:
        begun_s = time.monotonic()
        writer.write(self._gateway.request(body))
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            answer = await reader.readexactly(len(body)) if head.startswith(b"HTTP/1.1 200 ") else head
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            answer, head = repr(error).encode(), b"connection: close"
        if answer == body:
            self.latencies_s.append(time.monotonic() - begun_s)
        else:
            self.failed.append(answer.decode("latin-1"))
        return b"connection: close" not in head.lower()


async def with_callers(
    gateway: GatewayAlone, is_over: Callable[[], bool], meanwhile: asyncio.Task[None]
) -> list[Caller]:
    callers = [Caller(gateway, is_fresh=number % 2 == 1) for number in range(CALLERS)]
    await asyncio.gather(meanwhile, *(caller.call_until(is_over) for caller in callers))
    return callers


async def worker_pids(gateway: GatewayAlone) -> set[int]:
    status = await gateway.admin("/admin/status")
    return {worker["pid"] for worker in status["workers"]}


def test_a_rolling_restart_under_load_fails_no_request_and_never_looks_unready(
    tmp_path_factory: pytest.TempPathFactory, figure: Figure
) -> None:
    async def story(home: Path) -> None:
        async with gateway_alone(home, pod) as gateway:
            over = False

            async def restart() -> None:
                nonlocal over
                for number in range(ROUNDS):
                    before = await worker_pids(gateway)
                    await gateway.admin("/admin/workers/restart", reason="a new build")
                    await gateway.until_said("every worker was replaced", number + 1)
                    after = await worker_pids(gateway)
                    assert len(after) == 2
                    assert not before & after
                over = True

            callers = await with_callers(gateway, lambda: over, asyncio.create_task(restart()))
            failed = [failure for caller in callers for failure in caller.failed]
            assert failed == []
            latencies_s = [one for caller in callers for one in caller.latencies_s]
            assert len(latencies_s) > 100
            p99_ms = statistics.quantiles(latencies_s, n=100)[98] * 1000
            figure(f"{ROUNDS} rolling restarts", f"failed 0 of {len(latencies_s)}, p99 {p99_ms:.0f} ms")

    uvloop.run(story(tmp_path_factory.mktemp("w")))


def test_a_worker_that_is_stopped_is_replaced_and_its_siblings_go_on(
    tmp_path_factory: pytest.TempPathFactory, figure: Figure
) -> None:
    async def story(home: Path) -> None:
        async with gateway_alone(home, pod) as gateway:
            await gateway.until_said("accepts requests", 2)
            stopped = min(await worker_pids(gateway))
            begun_s = time.monotonic()
            os.kill(stopped, signal.SIGSTOP)
            await gateway.until_said(f"(pid {stopped}) died of SIGKILL, replaced in")
            took_s = time.monotonic() - begun_s
            assert took_s < HUNG_WORKER_GONE_WITHIN_S
            assert stopped not in await worker_pids(gateway)
            assert gateway.said.count("died of SIGKILL") == 1  # the sibling, which was well, lives
            caller = Caller(gateway, is_fresh=True)
            until_s = time.monotonic() + 0.5
            await caller.call_until(lambda: time.monotonic() > until_s)
            assert caller.failed == []
            figure("SIGSTOP of a worker: replaced after", f"{took_s:.1f} s")

    uvloop.run(story(tmp_path_factory.mktemp("w")))


def test_a_worker_whose_loop_stood_still_says_so_and_goes_on(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def story(home: Path) -> None:
        async with gateway_alone(home, pod, workers=1) as gateway:
            (pid,) = await worker_pids(gateway)
            with stopped([pid]):
                await asyncio.sleep(2.0)
            await gateway.until_said(f"worker (pid {pid}): the loop stood still for")
            caller = Caller(gateway, is_fresh=True)
            await caller.call_until(lambda: bool(caller.latencies_s))
            assert caller.failed == []
            assert await worker_pids(gateway) == {pid}

    uvloop.run(story(tmp_path_factory.mktemp("w")))


def test_every_worker_and_the_spare_killed_at_once_lose_no_connection_that_waits(
    tmp_path_factory: pytest.TempPathFactory, figure: Figure
) -> None:
    async def story(home: Path) -> None:
        async with gateway_alone(home, pod) as gateway:
            idle = [await asyncio.open_connection(*gateway.address) for _ in range(200)]
            worst_s = 0.0
            for _ in range(3):
                await asyncio.sleep(2.0)  # so that none of them dies young, which would let its successor wait
                for pid in workers_with_the_spare(gateway):
                    os.kill(pid, signal.SIGKILL)
                begun_s = time.monotonic()
                reader, writer = await asyncio.open_connection(*gateway.address)
                writer.write(gateway.request(b"after"))
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                except (asyncio.IncompleteReadError, ConnectionError):
                    continue  # a worker that was dying had accepted it
                assert head.startswith(b"HTTP/1.1 200 ")
                worst_s = max(worst_s, time.monotonic() - begun_s)
                writer.transport.abort()
            for _, writer in idle:
                writer.transport.abort()
            figure("kill -9 of all workers with 200 idle connections: first success after", f"{worst_s * 1e3:.0f} ms")

    uvloop.run(story(tmp_path_factory.mktemp("w")))


def test_a_worker_without_descriptors_refuses_in_words_and_is_well_as_soon_as_it_has_some(
    tmp_path_factory: pytest.TempPathFactory, figure: Figure
) -> None:
    async def story(home: Path) -> None:
        async with gateway_alone(home, pod, workers=1) as gateway:
            (pid,) = await worker_pids(gateway)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (256, 256))
            clients = [socket.create_connection(gateway.address) for _ in range(CONNECTIONS)]
            begun_cpu_s, begun_s = cpu_s(pid), time.monotonic()
            await asyncio.sleep(2.0)
            busy = (cpu_s(pid) - begun_cpu_s) / (time.monotonic() - begun_s)
            refused = sum(answered(client).startswith(b"HTTP/1.1 503 ") for client in clients)
            assert refused > 20  # about two hundred a second, while none of them leaves; the rest waits in the queue
            for client in clients:
                client.close()
            freed_s = time.monotonic()
            caller = Caller(gateway, is_fresh=True)
            await caller.call_until(lambda: bool(caller.latencies_s))
            recovered_s = time.monotonic() - freed_s
            assert recovered_s < WELL_WITHIN_S
            figure(
                f"256 descriptors, {CONNECTIONS} connections",
                f"{refused} refused, CPU {busy:.0%}, well {recovered_s:.2f} s after they left",
            )
            assert busy < 0.5

    uvloop.run(story(tmp_path_factory.mktemp("w")))


def workers_with_the_spare(gateway: GatewayAlone) -> list[int]:
    """Return every worker process, the one that stands by as well."""
    titles = of_session(gateway.pid).items()
    return [pid for pid, title in titles if title.startswith("penstock gateway worker")]


def answered(client: socket.socket) -> bytes:
    """Return what a client was told so far."""
    client.setblocking(False)
    try:
        return client.recv(4096)
    except OSError:
        return b""


def cpu_s(pid: int) -> float:
    """Return how much CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
