"""The true sidecar process beside a scripted pod, told by packets and exporting to a receiver of ours."""

from __future__ import annotations

import asyncio
import gzip
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
from telemetry.otlp.encode import encode_spans
from telemetry.sidecar.http import Answer, Listener, Request
from telemetry.sidecar.intake import open_records
from telemetry.sidecar.judgement import Kept
from telemetry.sidecar.kept import Keep, Keeps
from telemetry.sidecar.machine.history import Told
from telemetry.sidecar.serve import FLUSH_WITHIN_S
from telemetry.span import Attributes, Kind, Span
from tests.fakes.pod import Answering, FakePod, Seen
from tests.ports import free_port
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

# At once; on a busy machine the end of a process takes a moment.
GONE_WITHIN_S = 5.0
HEARD_WITHIN_S = 60.0


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
        self.keys: set[str] = set()
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
        spans = decode_protobuf(request.body).spans
        self.names |= {f"{span.trace_id[:18]} {span.name}" for span in spans}
        self.keys |= {key for span in spans for key in span.attributes}
        self._arrived.set()
        return Answer(200, "application/x-protobuf", b"")


def told(path: Path, packet: bytes) -> None:
    """Tell a sidecar as a recorder does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as recorder:
        recorder.connect(str(path))
        recorder.send(packet)


def _title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def _post(url: str, number: int, attributes: Attributes) -> None:
    """Send a span, with which a trace of its own begins, as a handler's exporter does."""
    span = Span(f"{number:018x}{0:014x}", f"{number:016x}", "", "work", Kind.INTERNAL, 1, 2, attributes=attributes)
    request = urllib.request.Request(  # noqa: S310 - the sidecar's own address
        url.replace("/metrics", "/v1/traces"),
        data=encode_spans([span]),
        headers={"content-type": "application/x-protobuf"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        assert answer.status == 200


def _names(text: str) -> set[str]:
    """Return the beginnings of lines, up to where labels or the value begin."""
    return {match[0] for match in re.finditer(r"^[a-z_]+[{ ]", text, re.MULTILINE)}


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the sidecar's own address
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


def test_it_tells_of_its_process_the_machine_and_how_busy_the_pod_s_device_is(tmp_path: Path) -> None:
    async def story() -> tuple[str, Told, int]:
        pod = ScriptedPod(tmp_path / "p.sock")
        pod.status = PodStatus("digits", "1", PodState.READY, device="cuda:0", device_s=1.5)
        async with pod.fake, running("--pod", pod.fake.address, "--machine", str(tmp_path)) as sidecar:
            async with asyncio.timeout(HEARD_WITHIN_S):
                text = await sidecar.metrics()
                while not {"penstock_device_busy_ratio{", "penstock_host_cpus "} <= _names(text):
                    await asyncio.sleep(0.02)
                    text = await sidecar.metrics()
            told = await asyncio.to_thread(_read, sidecar.url.replace("/metrics", "/machine"))
            return text, msgspec.json.decode(told, type=Told), sidecar.process.pid

    text, told, pid = asyncio.run(story())
    assert re.search(
        rf'penstock_process_resident_memory_bytes\{{[^}}]*pid="{pid}",process="sidecar"[^}}]*\}} [1-9]', text
    )
    assert 'penstock_device_busy_seconds_total{device="cuda:0",model="digits",version="1"} 1.5\n' in text
    assert 'penstock_device_busy_ratio{device="cuda:0",model="digits",version="1"} 0.0\n' in text
    assert re.search(r"^penstock_state_disk_free_bytes [1-9]", text, re.MULTILINE)
    assert "penstock_host_memory_available_bytes" in {line.metric for line in told.series}


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


def test_at_sigterm_a_pod_s_sidecar_hears_once_more_what_the_gateway_s_kept(tmp_path: Path) -> None:
    keeps = Keeps(1, ())

    def gateway(request: Request) -> Answer:
        return Answer(200, "application/json", msgspec.json.encode(keeps))

    async def story() -> tuple[int, set[str]]:
        nonlocal keeps
        hub = Hub(tmp_path / "hub.sock")
        records = tmp_path / "r.sock"
        listening = socket.create_server(("127.0.0.1", 0))
        options = [f"--pod=unix:{tmp_path}/none.sock", f"--records=unix:{records}"]
        options += [f"--export=unix:{tmp_path}/hub.sock", f"--keep-from=http://127.0.0.1:{listening.getsockname()[1]}"]
        async with hub.listening(), await Listener(gateway).listen(listening), running(*options) as pod:
            told(records, packet(POD, pod_request(1), pod_request(2)))
            async with asyncio.timeout(HEARD_WITHIN_S):
                while "penstock_sidecar_undecided 2.0" not in await pod.metrics():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.02)
            keeps = Keeps(2, (Keep(pod_request(1).trace_id, Kept.SLOW),))
            status, _, _ = await pod.end()
            return status, {name for name in hub.names if name.endswith(" pod.request")}

    assert asyncio.run(story()) == (0, {f"{1:018x} pod.request"})


def test_a_body_that_takes_long_to_read_holds_up_nothing_else(tmp_path: Path) -> None:
    """Eighteen kilobytes that are a hundred thousand spans."""
    many = b"\x12\x00" * 100_000
    spans_of_scope = b"\x12" + _length(many) + many
    bomb = gzip.compress(b"\x0a" + _length(spans_of_scope) + spans_of_scope)

    async def story() -> tuple[float, float]:
        async with running() as sidecar:
            url = sidecar.url.replace("/metrics", "/v1/traces")
            posts = [asyncio.create_task(asyncio.to_thread(_status_of, url, bomb)) for _ in range(4)]
            await asyncio.sleep(0)
            asked_s = time.monotonic()
            await asyncio.to_thread(_read, sidecar.url.replace("/metrics", "/livez"))
            took_s = time.monotonic() - asked_s
            _, _, ended_s = await sidecar.end()
            await asyncio.wait(posts)
            return took_s, ended_s

    answered_s, ended_s = asyncio.run(story())
    assert answered_s < GONE_WITHIN_S
    assert ended_s < FLUSH_WITHIN_S + GONE_WITHIN_S


def _length(data: bytes) -> bytes:
    """Return the length of a field as protobuf writes it."""
    left, written = len(data), bytearray()
    while left > 0x7F:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes((*written, left))


def _status_of(url: str, packed: bytes) -> int:
    headers = {"content-type": "application/x-protobuf", "content-encoding": "gzip"}
    request = urllib.request.Request(url, data=packed, headers=headers)  # noqa: S310 - the sidecar's own address
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except OSError:
        return 0


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


def test_spans_are_taken_on_the_usual_port_too_where_it_is_free(tmp_path: Path) -> None:
    async def story() -> tuple[str, str]:
        port = free_port()
        with socket.create_server(("127.0.0.1", port)):
            async with running(f"--otlp=127.0.0.1:{port}") as late:
                await late.end()
        async with running(f"--otlp=127.0.0.1:{port}") as sidecar:
            usual = f"http://127.0.0.1:{port}/v1/traces"
            await asyncio.to_thread(_post, usual.replace("/v1/traces", "/metrics"), 1, {})
            return late.said[0], await sidecar.metrics()

    said, metrics = asyncio.run(story())
    assert re.fullmatch(
        r"sidecar: no spans are taken on 127\.0\.0\.1:\d+ \(.*\); the metrics' port takes them too", said
    )
    assert 'penstock_sidecar_records_total{fate="share",kind="spans"} 1.0' in metrics


def test_attributes_are_allowed_by_a_file_whose_change_ends_nothing(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed.json"
    allowed.write_text('["app.old"]')

    async def story() -> set[str]:
        hub = Hub(tmp_path / "hub.sock")
        options = (f"--export=unix:{tmp_path}/hub.sock", f"--attributes-file={allowed}", "--attributes=app.always")
        async with hub.listening(), running(*options) as sidecar:
            await asyncio.to_thread(_post, sidecar.url, 1, {"app.always": 1, "app.old": 1, "app.new": 1})
            await hub.wait_for({f"{1:018x} work"})
            keys_before = set(hub.keys)
            allowed.write_text('["app.new"]')
            for number in range(2, 100):
                await asyncio.to_thread(_post, sidecar.url, number, {"app.new": 1})
                await hub.wait_for({f"{number:018x} work"})
                if "app.new" in hub.keys:
                    return keys_before
            raise AssertionError("the file was not read again")

    assert {key for key in asyncio.run(story()) if key.startswith("app.")} == {"app.always", "app.old"}
