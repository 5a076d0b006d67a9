"""The true sidecar, its disk and a back end that fails: what it had on disk arrives, and what it gave up is counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from telemetry.span import Attributes
from tests.certificates import Authority
from tests.ports import free_port
from tests.telemetry.sidecar.exported import SPANS_OF_A_REQUEST, BackEnd, Manner, packets, sample_sum
from tests.telemetry.sidecar.test_main import Sidecar, _post, running

AWAY_S = float(os.environ.get("PENSTOCK_BACK_END_AWAY_S", "30"))
pytestmark = [pytest.mark.system, pytest.mark.timeout(300 + AWAY_S)]

ON_DISK = 'penstock_export_queue_spans{where="disk"}'
IN_MEMORY = 'penstock_export_queue_spans{where="memory"}'
EXPORTED = "penstock_exported_spans_total"
DROPPED = "penstock_telemetry_dropped_total"
WITHIN_S = 60.0
REQUESTS_PER_S = 200
MOST_GROWTH_BYTES = 48 * 2**20


class Told:
    """One recorder, which never lets go of what the sidecar does not take at once."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(path))
        self._socket.setblocking(False)

    async def tell(self, told: Sequence[bytes]) -> None:
        for packet in told:
            await asyncio.get_running_loop().sock_sendall(self._socket, packet)

    def close(self) -> None:
        self._socket.close()


@asynccontextmanager
async def recorded(folder: Path, port: int, *options: str) -> AsyncIterator[tuple[Sidecar, Told]]:
    records = folder / "records.sock"
    export = (f"--export=http://127.0.0.1:{port}", "--export-timeout-s=0.5", f"--queue={folder / 'queue'}")
    async with running(f"--records=unix:{records}", *export, *options) as sidecar:
        recorder = Told(records)
        try:
            yield sidecar, recorder
        finally:
            recorder.close()


async def until(sidecar: Sidecar, name: str, value: float, within_s: float = WITHIN_S) -> None:
    """Wait until a metric has come to a value."""
    async with asyncio.timeout(within_s):
        while sample_sum(await sidecar.metrics(), name) < value:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def on_disk(sidecar: Sidecar, produced: int, exported: int = 0) -> None:
    """Wait until all that was produced is on disk, was sent or is counted as lost."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            said = await sidecar.metrics()
            there = sum(sample_sum(said, name) for name in (EXPORTED, DROPPED)) + _waiting(said, ON_DISK)
            if there >= produced and not _waiting(said, IN_MEMORY):
                return
            await asyncio.sleep(0.05)


def _waiting(said: str, series: str) -> float:
    return next(float(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith(series))


async def kill(sidecar: Sidecar) -> None:
    sidecar.process.kill()
    await sidecar.process.communicate()


def test_what_is_on_disk_when_the_sidecar_is_killed_is_sent_by_the_next_one(tmp_path: Path) -> None:
    produced = 500 * SPANS_OF_A_REQUEST

    async def story() -> None:
        port = free_port()
        async with recorded(tmp_path, port) as (first, recorder):
            await recorder.tell(packets(1, 500))
            await on_disk(first, produced)
            await kill(first)
        back_end = BackEnd()
        async with back_end.listening(port), recorded(tmp_path, port) as (second, _):
            await back_end.wait_for(produced)
            await until(second, EXPORTED, produced)
            said = await second.metrics()
        assert len(back_end.ids) == produced
        assert (sample_sum(said, EXPORTED), sample_sum(said, DROPPED)) == (produced, 0)

    asyncio.run(story())


def test_killed_again_and_again_beside_a_back_end_of_every_manner_sent_and_dropped_are_what_was_produced(
    tmp_path: Path,
) -> None:
    rounds = 6
    of_a_round = 300
    each = [Manner.BUSY, Manner.HANGS_UP, Manner.TAKES, Manner.ENDLESS, Manner.HANGS, Manner.TAKES, Manner.BUSY]

    async def story() -> None:
        back_end, port = BackEnd(), free_port()
        produced = 0
        async with back_end.listening(port):
            for number in range(rounds):
                back_end.manners = each[number % 3 :]
                async with recorded(tmp_path, port) as (sidecar, recorder):
                    await recorder.tell(packets(1 + number * of_a_round, of_a_round))
                    produced += of_a_round * SPANS_OF_A_REQUEST
                    await on_disk(sidecar, produced)
                    await kill(sidecar)
            back_end.manners = []
            async with recorded(tmp_path, port) as (sidecar, _):
                await until(sidecar, EXPORTED, produced)
                said = await sidecar.metrics()
        assert len(back_end.ids) == produced
        assert (sample_sum(said, EXPORTED), sample_sum(said, DROPPED)) == (produced, 0)
        # Sent twice is at most what was under way when it was killed, and what a back end took without a word.
        assert max(back_end.ids.values()) <= rounds

    asyncio.run(story())


def test_where_the_folder_is_full_the_oldest_go_and_their_number_outlives_the_sidecar(tmp_path: Path) -> None:
    requests = 24_000
    produced = requests * SPANS_OF_A_REQUEST

    async def story() -> None:
        port = free_port()
        async with recorded(tmp_path, port, "--queue-bytes=8388608") as (first, recorder):
            await recorder.tell(packets(1, requests))
            await on_disk(first, produced)
            dropped = sample_sum(await first.metrics(), DROPPED)
            await kill(first)
        assert 0 < dropped < produced
        assert sum(path.stat().st_size for path in (tmp_path / "queue").iterdir()) <= 8_388_608 + 2**16
        back_end = BackEnd()
        async with back_end.listening(port), recorded(tmp_path, port) as (second, _):
            await until(second, EXPORTED, produced - dropped)
            said = await second.metrics()
        assert sample_sum(said, DROPPED) == dropped
        assert len(back_end.ids) == sample_sum(said, EXPORTED) == produced - dropped
        newest = f"{requests:018x}"
        assert any(trace_id.startswith(newest) for trace_id, _ in back_end.ids)

    asyncio.run(story())


def test_at_sigterm_what_no_back_end_takes_waits_on_disk_and_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        port = free_port()
        async with recorded(tmp_path, port) as (first, recorder):
            await recorder.tell(packets(1, 3))
            await until(first, "penstock_sidecar_records_total", 3)
            status, said, _ = await first.end()
        assert status == 0
        assert "6 spans wait on disk for the next start" in said
        assert "lost" not in said
        back_end = BackEnd()
        async with back_end.listening(port), recorded(tmp_path, port):
            await back_end.wait_for(6)

    asyncio.run(story())


def test_a_back_end_that_is_away_for_long_gets_all_of_it_and_memory_stays_bounded(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """As long as the environment says; requests are recorded all the while."""

    async def story() -> None:
        port = free_port()
        async with recorded(tmp_path, port) as (sidecar, recorder):
            await recorder.tell(packets(1, 100))
            await on_disk(sidecar, 100 * SPANS_OF_A_REQUEST)
            before_bytes, told = _resident_bytes(sidecar.process.pid), 100
            began_s = asyncio.get_running_loop().time()
            while asyncio.get_running_loop().time() < began_s + AWAY_S:
                await recorder.tell(packets(1 + told, REQUESTS_PER_S // 2))
                told += REQUESTS_PER_S // 2
                await asyncio.sleep(0.5)
            produced = told * SPANS_OF_A_REQUEST
            await on_disk(sidecar, produced)
            grew_bytes = _resident_bytes(sidecar.process.pid) - before_bytes
            back_end = BackEnd()
            async with back_end.listening(port):
                left = produced - sample_sum(await sidecar.metrics(), DROPPED)
                await until(sidecar, EXPORTED, left, WITHIN_S + AWAY_S / 2)
                said = await sidecar.metrics()
        dropped = sample_sum(said, DROPPED)
        record_property(
            f"back end away for {AWAY_S:g} s",
            f"{produced} spans made, {len(back_end.ids)} arrived, {dropped:.0f} dropped and counted, "
            f"{sum(back_end.ids.values()) - len(back_end.ids)} arrived twice; memory {grew_bytes / 2**20:+.1f} MiB",
        )
        assert len(back_end.ids) + dropped == produced
        assert not dropped or AWAY_S > 60
        assert grew_bytes < MOST_GROWTH_BYTES

    asyncio.run(story())


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_folder_that_cannot_be_used_costs_what_a_death_would_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("a file")

    async def story() -> None:
        back_end, port = BackEnd(), free_port()
        async with recorded(tmp_path, port) as (sidecar, recorder):
            await sidecar.wait_for(r"sidecar: spans cannot be kept on disk \(.*\); they wait in memory")
            await recorder.tell(packets(1, 100))
            async with back_end.listening(port):
                await back_end.wait_for(200)
            assert sample_sum(await sidecar.metrics(), "penstock_export_disk_failures_total") > 0

    asyncio.run(story())


def test_spans_go_over_tls_to_whom_the_certificate_names_with_the_fields_that_a_file_says(tmp_path: Path) -> None:
    authority = Authority()
    authority.server("localhost").write(tmp_path / "cert.pem", tmp_path / "key.pem")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    (tmp_path / "headers.json").write_text(json.dumps({"Authorization": "Bearer pl4nted"}))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def story() -> None:
        back_end = BackEnd()
        async with back_end.listening(free_port(), tls=tls):
            options = (f"--export=https://127.0.0.1:{back_end.port}/otel", f"--export-ca={tmp_path}/ca.pem")
            headers = f"--export-headers-file={tmp_path}/headers.json"
            async with recorded(tmp_path, 1, *options, headers) as (_, recorder):
                await recorder.tell(packets(1, 100))
                await back_end.wait_for(200)
        assert back_end.headers["authorization"] == "Bearer pl4nted"
        assert set(back_end.paths) == {"/otel/v1/traces"}
        stranger = Authority("stranger")
        (tmp_path / "ca.pem").write_bytes(stranger.pem)
        elsewhere = recorded(tmp_path, 1, *options, headers)
        async with back_end.listening(back_end.port, tls=tls), elsewhere as (sidecar, recorder):
            await recorder.tell(packets(101, 1))
            await sidecar.wait_for(r"sidecar: spans cannot be exported \(ConnectError: .*certificate.*\); they wait")
        assert len(back_end.ids) == 200

    asyncio.run(story())


def test_spans_wait_for_the_certificates_and_header_fields_that_they_are_to_be_sent_with(tmp_path: Path) -> None:
    authority = Authority()
    authority.server("localhost").write(tmp_path / "cert.pem", tmp_path / "key.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

    async def story() -> None:
        back_end = BackEnd()
        async with back_end.listening(tls=tls):
            options = (f"--export=https://127.0.0.1:{back_end.port}", f"--export-ca={tmp_path}/ca.pem")
            headers = f"--export-headers-file={tmp_path}/headers.json"
            async with recorded(tmp_path, 1, *options, headers) as (sidecar, recorder):
                await sidecar.wait_for(
                    r"sidecar: spans cannot be exported \(the file .*headers.json holds no JSON object.*"
                )
                await recorder.tell(packets(1, 100))
                await on_disk(sidecar, 200)
                (tmp_path / "headers.json").write_text('{"authorization": "Bearer pl4nted"}')
                assert not back_end.ids
                (tmp_path / "ca.pem").write_bytes(authority.pem)
                await back_end.wait_for(200)
                said = await sidecar.metrics()
        assert sample_sum(said, DROPPED) == 0
        assert back_end.headers["authorization"] == "Bearer pl4nted"

    asyncio.run(story())


@pytest.mark.parametrize(("held", "is_sent"), [('{"x-scope": "pl4nted"}', True), ("x-scope=pl4nted", False)])
def test_header_fields_may_be_in_the_environment(
    held: str, is_sent: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTLP_HEADERS", held)

    async def story() -> None:
        back_end, port = BackEnd(), free_port()
        async with (
            back_end.listening(port),
            recorded(tmp_path, port, "--export-headers-env=OTLP_HEADERS") as (sidecar, recorder),
        ):
            await recorder.tell(packets(1, 100))
            if is_sent:
                await back_end.wait_for(200)
                assert back_end.headers["x-scope"] == "pl4nted"
            else:
                await sidecar.wait_for(
                    r".*the environment variable OTLP_HEADERS holds no JSON object of header fields.*"
                )
                await on_disk(sidecar, 200)
                assert not back_end.ids

    asyncio.run(story())


def test_what_nobody_allowed_is_never_written_to_disk(tmp_path: Path) -> None:
    async def story() -> None:
        async with recorded(tmp_path, free_port()) as (sidecar, _):
            attributes: Attributes = {
                "app.card": "pl4nted-4111",
                "exception.message": "pl4nted",
                "error.type": "kept-word",
            }
            await asyncio.to_thread(_post, sidecar.url, 1, attributes)
            await on_disk(sidecar, 1)
            sidecar.process.send_signal(signal.SIGTERM)
            await sidecar.process.communicate()
        written = b"".join(path.read_bytes() for path in (tmp_path / "queue").iterdir())
        assert b"kept-word" in written
        assert b"pl4nted" not in written

    asyncio.run(story())
