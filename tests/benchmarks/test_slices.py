"""Slices of the benchmark of the hop and the table made of them."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import stub, wrk
from tests.benchmarks.contender import Contender
from tests.benchmarks.heads import Requests
from tests.benchmarks.processes import NotStarted, await_answer, running
from tests.benchmarks.slices import Slice, check_once, failures, interleaved, render, take_slice
from tests.ports import free_port

SLICE = Slice(requests_per_s=1000.0, cpu_per_request_s=20e-6, busy=0.95, p50_s=0.001, p99_s=0.002, failed=0)


def cells(table: str) -> list[str]:
    return re.split(" {2,}", table.splitlines()[-1].strip())


def test_a_contender_is_compared_with_the_reference_of_the_same_pass() -> None:
    slices = {
        "nginx": [SLICE, replace(SLICE, requests_per_s=500.0)],
        "ours": [
            replace(SLICE, requests_per_s=900.0, rss_bytes=30 * 2**20),
            replace(SLICE, requests_per_s=450.0, cpu_per_request_s=22e-6, failed=2),
        ],
    }
    assert cells(render(slices, "nginx")) == [
        *("ours", "675 [450..900]", "0.90", "0.90..0.90", "21.0 [20.0..22.0]", "1.05", "1.00..1.10"),
        *("95%", "1.00", "2.00", "30", "2", "2"),
    ]


def test_requests_per_second_that_the_load_has_set_are_not_compared() -> None:
    for idle in ("nginx", "ours"):
        slices = {name: [replace(SLICE, busy=0.6 if name == idle else 0.95)] for name in ("nginx", "ours")}
        assert cells(render(slices, "nginx"))[2:7] == ["-", "-", "20.0 [20.0..20.0]", "1.00", "1.00..1.00"]


def test_without_the_reference_there_are_figures_and_no_ratios() -> None:
    assert cells(render({"ours": [SLICE]}, "nginx"))[:4] == ["ours", "1000 [1000..1000]", "-", "-"]


def test_every_pass_takes_each_once_and_begins_with_another() -> None:
    order: list[str] = []
    taken = interleaved({name: lambda name=name: order.append(name) for name in "abc"}, 3)  # type: ignore[misc]  # a default binds it
    assert "".join(order) == "abcbcacab"
    assert {name: len(of_it) for name, of_it in taken.items()} == {"a": 3, "b": 3, "c": 3}


@pytest.mark.system
@pytest.mark.alone
@pytest.mark.parametrize("with_wrk", [True, False])
def test_a_slice_counts_right_answers_and_the_cpu_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_wrk: bool
) -> None:
    if with_wrk and wrk.find_wrk() is None:
        pytest.skip("wrk is not installed")
    if not with_wrk:
        monkeypatch.setattr(wrk, "find_wrk", lambda: None)
    port = free_port()
    arguments = [sys.executable, str(stub.__file__), str(tmp_path / "stub.sock"), str(port)]
    with running(arguments, cores=os.sched_getaffinity(0), log=tmp_path / "log") as program:
        await_answer(f"127.0.0.1:{port}", "/v2/health/ready", program)
        contender = Contender("stub", f"127.0.0.1:{port}", "/predictions/stub", program)
        taken = take_slice(contender, Requests(contender.path, "key"), 0.5, connections=4)
        wrong = take_slice(contender, Requests("/penstock/pod", "key"), 0.5, connections=4)
        with pytest.raises(NotStarted, match="wrong answers"):
            check_once(contender, Requests("/penstock/pod", "key"))
    assert failures({"stub": [taken]}) == 0
    assert taken.requests_per_s > 0
    assert 0 < taken.cpu_per_request_s < 0.1
    assert taken.rss_bytes > 2**20
    assert wrong.requests_per_s == 0
    assert wrong.failed > 0
