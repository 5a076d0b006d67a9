"""What takes part in the benchmark of the hop, and that all of it is ended."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.benchmarks import peers
from tests.benchmarks.back_ends import StubAddress, running_stub
from tests.benchmarks.contender import Contender, start_all
from tests.benchmarks.cores import Cores
from tests.benchmarks.gateway import DIRECT, HEADLINE, answers_rightly, goals, measure, started
from tests.benchmarks.ours import OURS
from tests.benchmarks.processes import pinned
from tests.benchmarks.slices import failures
from tests.benchmarks.test_slices import SLICE
from tests.ports import free_port


def test_the_ratio_to_envoy_is_said_with_its_bound() -> None:
    slow = replace(SLICE, requests_per_s=200.0, cpu_per_request_s=100e-6)
    said = goals({OURS: [SLICE, SLICE], peers.ENVOY: [slow, slow]})
    assert "req/s × 5.00 (5.00..5.00)" in said
    assert "CPU per request × 5.00" in said


def test_of_a_proxy_that_was_not_its_own_limit_only_the_cpu_is_compared() -> None:
    said = goals({OURS: [replace(SLICE, busy=0.5)], peers.ENVOY: [SLICE]})
    assert "req/s × - (-)" in said
    assert "CPU per request × 1.00" in said


def test_the_proxy_has_a_core_to_itself_where_there_are_two() -> None:
    assert Cores.choose({4, 2}) == Cores(proxy=2, load=4, stub=4)
    assert Cores.choose({0, 1, 2, 3}) == Cores(proxy=0, load=1, stub=2)
    assert Cores.choose({0}) == Cores(proxy=0, load=0, stub=0)


@pytest.mark.system
@pytest.mark.alone
def test_one_that_answers_wrongly_is_left_out_with_a_line(tmp_path: Path) -> None:
    said: list[str] = []
    behind = StubAddress(free_port(), tmp_path / "stub.sock")
    with running_stub(Cores.choose(os.sched_getaffinity(0)), behind, tmp_path):
        right = Contender("right", f"127.0.0.1:{behind.port}", "/predictions/stub", None)
        assert answers_rightly(right, said.append)
        assert not answers_rightly(replace(right, path="/penstock/pod"), said.append)
    assert [line[: len("left out: right: ")] for line in said] == ["left out: right: "]


@pytest.mark.system
@pytest.mark.alone
def test_everything_that_takes_part_answers_rightly_and_is_ended() -> None:
    cores = Cores.choose(os.sched_getaffinity(0))
    with (
        TemporaryDirectory() as name,  # a short path: sockets lie in it
        started(cores, Path(name)) as found,
    ):
        assert found.broken == []
        assert {DIRECT, OURS, f"{OURS}, link over TCP", f"{OURS}, HTTP/1.1 pod"} <= {
            contender.name for contender in found.contenders
        }
        with pinned({cores.load}):
            slices = measure(found.contenders, HEADLINE, passes=1, slice_s=0.5)
        pids = {contender.program.pid for contender in found.contenders if contender.program}
    assert failures(slices) == 0
    assert all(taken[0].requests_per_s > 0 for taken in slices.values())
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_one_that_is_not_installed_keeps_nobody_else_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behind = StubAddress(9, tmp_path / "sock")
    cores = Cores(0, 0, 0)
    monkeypatch.setattr(peers, "find_program", lambda name: None)
    with ExitStack() as stack:
        found = start_all(
            (lambda: peers.nginx(cores, behind, tmp_path), lambda: peers.haproxy(cores, behind, tmp_path)), stack
        )
    assert found.skipped == [
        "skipped: nginx is not installed (apt-get install nginx-light)",
        "skipped: haproxy is not installed (apt-get install haproxy)",
    ]
