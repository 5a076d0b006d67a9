"""Killed or stopped, sidecars and the hub cost telemetry and nothing else: requests, counts and the rest go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path

import pytest
import uvloop

from tests.fakes.load import LoadOptions, closed_loop, open_loop
from tests.fakes.records import Record, summarize
from tests.system.conftest import Figure
from tests.system.digits import Digit, known_digits, request_bytes, traffic
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.processes import kill_now, stopped
from tests.system.seen import hub_of, objective, sample_sum, sidecar_urls

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

RATE_PER_S = 150.0
LOAD_S = 5.0
FAULT_AFTER_S = 1.0
STOPPED_S = 3.0
COUNTED_WITHIN_S = 60.0
STILL_S = 4.0
Fault = Callable[[Sequence[int]], Coroutine[None, None, None]]
MOST_SENT = 100_000
TELEMETRY = r"penstock (sidecar .*|hub)"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("telemetry-faults"), model_store, workers=1) as running:
        hub_of(running)
        eventually(lambda: len(running.pids(TELEMETRY)) == 3, "two sidecars and the hub run")
        yield running


@pytest.fixture(scope="module")
def digits(mesh: MeshUnderTest) -> list[Digit]:
    return known_digits(mesh)


async def load(mesh: MeshUnderTest, digits: Sequence[Digit]) -> list[Record]:
    make_request, check = traffic(mesh, digits)
    return await open_loop(
        mesh.inference,
        rate_per_s=RATE_PER_S,
        duration_s=LOAD_S,
        make_request=make_request,
        check=check,
        options=LoadOptions(keeps_headers=True),
    )


async def killed(victims: Sequence[int]) -> None:
    await asyncio.sleep(FAULT_AFTER_S)
    await asyncio.to_thread(kill_now, victims)


async def stopped_for_a_while(victims: Sequence[int]) -> None:
    await asyncio.sleep(FAULT_AFTER_S)
    with stopped(victims):
        await asyncio.sleep(STOPPED_S)


async def hammer(mesh: MeshUnderTest, request: bytes) -> list[Record]:
    """Send one request over and over, for a second, as fast as it is answered."""
    return await closed_loop(
        mesh.inference,
        connections=16,
        duration_s=1.0,
        make_request=lambda _: request,
        check=lambda _, status, __: status == 401,
        options=LoadOptions(),
    )


def good_and_bad(mesh: MeshUnderTest) -> tuple[int, int]:
    slo = objective(mesh, "digits-availability")
    return slo["good"], slo["bad"]


@pytest.mark.parametrize(
    ("how", "fault"),
    [("kill -9", killed), (f"SIGSTOP for {STOPPED_S:g} s", stopped_for_a_while)],
    ids=["killed", "stopped"],
)
def test_no_request_notices_and_every_event_is_counted(
    mesh: MeshUnderTest, digits: list[Digit], how: str, fault: Fault, figure: Figure
) -> None:
    good_before, bad_before = _settled_counts(mesh)
    victims = mesh.pids(TELEMETRY)

    async def both() -> list[Record]:
        records, _ = await asyncio.gather(load(mesh, digits), fault(victims))
        return records

    records = uvloop.run(both())
    summary = summarize(records)
    assert all(record.is_right for record in records), summary
    expected = (good_before + len(records), bad_before)
    eventually(lambda: good_and_bad(mesh) == expected, f"{expected} events are counted", within_s=COUNTED_WITHIN_S)
    p99_ms = summary.p99_s * 1e3
    figure(f"{how} of sidecars and hub", f"{summary.count} requests, all right, all counted, p99 {p99_ms:.0f} ms")
    eventually(lambda: len(mesh.pids(TELEMETRY)) == 3, "sidecars and hub run again")


def test_what_telemetry_lost_is_counted(mesh: MeshUnderTest) -> None:
    """More is recorded than the ring holds while the gateway's sidecar is stopped: the rest is dropped, and told."""
    eventually(lambda: len(mesh.pids(TELEMETRY)) == 3, "two sidecars and the hub run")
    (sidecar,) = mesh.pids("penstock sidecar gateway")
    metrics = mesh.published().metrics

    def dropped() -> float:
        return sample_sum(metrics, "penstock_telemetry_dropped_total")

    before = dropped()
    # A refusal is recorded like any request, and costs nobody a model's time.
    refused = request_bytes(mesh, "/predictions/digits", b"{}", headers={"authorization": "Bearer nobody"})
    with stopped([sidecar]):
        sent = 0
        while dropped() == before and sent < MOST_SENT:
            sent += len(uvloop.run(hammer(mesh, refused)))
    eventually(lambda: dropped() > before, "what was dropped is told")
    url = sidecar_urls(mesh)["gateway"]
    eventually(
        lambda: sample_sum(url, "penstock_telemetry_dropped_total") > 0, "the sidecar tells of what its recorders lost"
    )


def _settled_counts(mesh: MeshUnderTest) -> tuple[int, int]:
    """Return the counts once what went before is counted: workers tell of theirs about once a second."""
    last, changed_s = (-1, -1), time.monotonic()

    def is_still() -> bool:
        nonlocal last, changed_s
        now = good_and_bad(mesh)
        if now != last:
            last, changed_s = now, time.monotonic()
        return time.monotonic() - changed_s > STILL_S

    eventually(is_still, "the counts stand still")
    return last
