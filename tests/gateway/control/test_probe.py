"""Probes against true servers on Unix sockets and TCP."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.control import probe as probe_module
from gateway.control.desired import PodPlace
from gateway.control.pod_table import Finding, Foreign, Silence
from gateway.control.probe import PROBE_EVERY_S, READY_EVERY_S, PodProbes, probe
from model_pod.wire.status import PodState, PodStatus
from policies.snapshot.route import Health
from tests.cut_off import cut_off_next

STATUS = PodStatus("digits", "1", PodState.READY, was_ready=True, device="cpu")
Answer = Callable[[str], tuple[int, bytes] | None]
PATIENT_S = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that halts for seconds answers late, which is not what most tests ask."""
    monkeypatch.setattr(probe_module, "ANSWER_WITHIN_S", PATIENT_S)


def ours(path: str) -> tuple[int, bytes]:
    return (200, msgspec.json.encode(STATUS)) if path == "/penstock/pod" else (404, b"")


def foreign(path: str) -> tuple[int, bytes]:
    return (200, b"") if path == "/v2/health/ready" else (404, b"{}")


def foreign_and_loading(path: str) -> tuple[int, bytes]:
    return (400, b"") if path == "/v2/health/ready" else (404, b"{}")


def endless(path: str) -> tuple[int, bytes]:
    return (200, b"[" * 2**20) if path == "/penstock/pod" else (503, b"")


def mute(_: str) -> None:
    return None


def speak(answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return a server of plain HTTP that answers as scripted, or never."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                scripted = answer(head.split(b" ")[1].decode())
                if scripted is not None:
                    status, body = scripted
                    writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return converse


def torchserve(path: str) -> tuple[int, bytes]:
    return (200, b'{"status": "Healthy"}') if path == "/ping" else (404, b"{}")


def of_its_own_kind(path: str) -> tuple[int, bytes]:
    return (200, b"") if path == "/up" else (404, b"")


def found(answer: Answer, path: Path, asked: str = "", *, may_be_ours: bool = True) -> Finding:
    """Return what a probe of such a server finds."""

    async def ask() -> Finding:
        address = str(path / "p.sock")
        server = await asyncio.start_unix_server(speak(answer), address)
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx.AsyncHTTPTransport(verify=no_tls, uds=address) as transport:
            finding = await probe(transport, f"unix:{address}", asked, may_be_ours=may_be_ours)
        server.close()
        return finding

    return asyncio.run(ask())


def test_a_pod_s_own_account_is_returned(tmp_path: Path) -> None:
    assert found(ours, tmp_path) == STATUS


def test_a_foreign_server_is_asked_for_its_readiness(tmp_path: Path) -> None:
    assert found(foreign, tmp_path) == Foreign(is_ready=True)
    assert found(foreign_and_loading, tmp_path) == Foreign(is_ready=False)


def test_a_server_without_the_open_inference_protocol_is_asked_as_torchserve_is(tmp_path: Path) -> None:
    assert found(torchserve, tmp_path) == Foreign(is_ready=True, path="/ping")
    assert found(lambda _: (404, b""), tmp_path) == Foreign(is_ready=False, path="/v2/health/ready")


def test_policy_says_what_a_foreign_server_is_asked_and_nothing_else_is_then(tmp_path: Path) -> None:
    assert found(of_its_own_kind, tmp_path, "/up") == Foreign(is_ready=True, path="/up")
    assert found(torchserve, tmp_path, "/up") == Foreign(is_ready=False, path="/up")
    assert found(ours, tmp_path, "/up") == STATUS


def test_a_server_that_is_not_ours_is_not_asked_for_our_account_over_and_over(tmp_path: Path) -> None:
    asked: list[str] = []

    def foreign_that_notes(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return foreign(path)

    found(foreign_that_notes, tmp_path, may_be_ours=False)
    assert asked == ["/v2/health/ready"]


def test_an_answer_that_does_not_end_is_cut_off_and_no_account(tmp_path: Path) -> None:
    assert found(endless, tmp_path) == Foreign(is_ready=False)


def test_a_mute_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "ANSWER_WITHIN_S", 0.05)
    finding = found(mute, tmp_path)
    assert isinstance(finding, Silence)
    assert finding.timed_out


def test_a_pod_that_cannot_even_be_asked_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "PROBE_EVERY_S", 0.0)
    monkeypatch.setattr(probe_module, "PROBES_PER_S", float("inf"))
    nowhere = PodPlace("digits/1/0", "digits", "1", "127.0.0.1:99999", None)  # no such port: no error of a connection

    async def follow() -> list[Finding]:
        reports: asyncio.Queue[Finding] = asyncio.Queue()
        probes = PodProbes(lambda _place, finding, _: reports.put_nowait(finding))
        probes.watch([nowhere])
        async with asyncio.timeout(20.0):
            found = [await reports.get() for _ in range(2)]
        await probes.stop()
        return found

    assert all(isinstance(finding, Silence) for finding in asyncio.run(follow()))


def test_pods_that_stay_are_probed_on_and_those_that_go_are_not(tmp_path: Path) -> None:
    gone = PodPlace("digits/1/0", "digits", "1", f"unix:{tmp_path}/none.sock", None)

    async def follow() -> list[tuple[str, Finding]]:
        reports: asyncio.Queue[tuple[str, Finding]] = asyncio.Queue()
        probes = PodProbes(lambda place, finding, _: reports.put_nowait((place.name, finding)))
        server = await asyncio.start_server(speak(ours), "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        stays = PodPlace("digits/2/0", "digits", "2", f"{host}:{port}", None)
        probes.watch([gone, stays])
        first = dict([await reports.get()])
        while len(first) < 2:  # on a slow machine one of them is asked twice before the other has been once
            first.update([await reports.get()])
        probes.watch([stays])
        while not reports.empty():
            reports.get_nowait()
        then = [await reports.get(), await reports.get()]
        await probes.stop()
        server.close()
        return [*sorted(first.items()), *then]

    first, second, *then = asyncio.run(asyncio.wait_for(follow(), 20))
    assert first == ("digits/1/0", Silence("nothing listens at its address", timed_out=False))
    assert [second, *then] == [("digits/2/0", STATUS)] * 3


@pytest.mark.parametrize(
    ("health", "finding", "pod_count", "pause_s"),
    [
        (Health(), STATUS, 1, READY_EVERY_S),
        (Health(), msgspec.structs.replace(STATUS, state=PodState.RESTARTING), 1, PROBE_EVERY_S),
        (Health(), Silence("nothing listens", timed_out=False), 1, PROBE_EVERY_S),
        (Health(), Foreign(is_ready=True), 1, READY_EVERY_S),
        (Health(), Foreign(is_ready=False), 1, PROBE_EVERY_S),
        (Health("/up", every_s=0.1), STATUS, 1, 0.1),
        (Health(), STATUS, 100, 4.0),
    ],
)
def test_a_pod_that_is_ready_is_asked_less_often(
    health: Health, finding: Finding, pod_count: int, pause_s: float
) -> None:
    assert probe_module.pause_s(health, finding, pod_count) == pause_s


def test_pods_are_asked_as_policy_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "READY_EVERY_S", 3600.0)
    monkeypatch.setattr(probe_module, "PROBES_PER_S", 1e9)
    asked: list[str] = []

    def ready_at_times(path: str) -> tuple[int, bytes]:
        asked.append(path)
        return (503, b"") if path == "/up" and asked.count("/up") in (2, 4, 5) else (200, b"")

    async def follow() -> list[Finding]:
        reports: asyncio.Queue[Finding] = asyncio.Queue()
        probes = PodProbes(lambda _, finding, __: reports.put_nowait(finding))
        server = await asyncio.start_unix_server(speak(ready_at_times), str(tmp_path / "p.sock"))
        health = Health("/up", every_s=0.001, down_after=2)
        probes.watch([PodPlace("digits/1/0", "digits", "1", f"unix:{tmp_path}/p.sock", None, health)])
        findings = [await reports.get() for _ in range(6)]
        await probes.stop()
        server.close()
        return findings

    findings = asyncio.run(asyncio.wait_for(follow(), 20))
    assert [isinstance(finding, Foreign) and finding.is_ready for finding in findings] == [True] * 4 + [False, True]
    # Ours would say so at the first question; it is asked again only when something is wrong.
    assert asked[:5] == ["/penstock/pod", "/up", "/up", "/penstock/pod", "/up"]


def test_a_pod_whose_policy_changes_is_asked_as_the_new_one_says(tmp_path: Path) -> None:
    async def follow() -> Finding:
        reports: asyncio.Queue[Finding] = asyncio.Queue()
        probes = PodProbes(lambda _, finding, __: reports.put_nowait(finding))
        server = await asyncio.start_unix_server(speak(of_its_own_kind), str(tmp_path / "p.sock"))
        place = PodPlace("digits/1/0", "digits", "1", f"unix:{tmp_path}/p.sock", None, Health("/up", every_s=3600.0))
        probes.watch([place])
        assert await reports.get() == Foreign(is_ready=True, path="/up")
        probes.watch([msgspec.structs.replace(place, health=Health())])
        finding = await reports.get()
        await probes.stop()
        server.close()
        return finding

    assert asyncio.run(asyncio.wait_for(follow(), 20)) == Foreign(is_ready=False)


@pytest.mark.parametrize("is_unix", [True, False])
def test_a_probe_that_is_cut_off_anywhere_leaves_the_next_one_whole(
    is_unix: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe_module, "READY_EVERY_S", 0.0)
    monkeypatch.setattr(probe_module, "PROBES_PER_S", 1e9)

    async def serve() -> tuple[asyncio.Server, str]:
        if is_unix:
            path = str(tmp_path / "p.sock")
            return await asyncio.start_unix_server(speak(ours), path), f"unix:{path}"
        server = await asyncio.start_server(speak(ours), "127.0.0.1", 0)
        return server, "{}:{}".format(*server.sockets[0].getsockname())

    async def find_after(turns: int, address: str) -> tuple[Finding, Finding]:
        reports: asyncio.Queue[Finding] = asyncio.Queue()
        cut_off_next(monkeypatch, PATIENT_S, turns)
        probes = PodProbes(lambda _, finding, __: reports.put_nowait(finding))
        probes.watch([PodPlace("digits/1/0", "digits", "1", address, None)])
        found = await reports.get(), await reports.get()
        await probes.stop()
        return found

    async def sweep() -> list[tuple[Finding, Finding]]:
        server, address = await serve()
        found: list[tuple[Finding, Finding]] = []
        while len(found) < 60 or found[-1][0] != STATUS:  # a busy machine may take more turns to carry the answer over
            found.append(await find_after(len(found), address))
        server.close()
        return found

    found = asyncio.run(asyncio.wait_for(sweep(), 100))
    assert [then for _, then in found] == [STATUS] * len(found)
    cut = [first.why for first, _ in found if isinstance(first, Silence)]
    assert (cut[0], cut[-1]) == ("it could not be asked within 60 s", "no answer within 60 s")
    assert found[-1][0] == STATUS
