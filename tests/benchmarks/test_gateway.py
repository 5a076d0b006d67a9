"""Slices of the gateway benchmark and the table made of them."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import stub
from tests.benchmarks.contenders import PATH, Contender
from tests.benchmarks.gateway import Slice, render, take_slice
from tests.benchmarks.processes import await_answer, free_port, running

SLICE = Slice(requests_per_s=1000.0, cpu_per_request_s=20e-6, busy=0.5, p50_s=0.001, p99_s=0.002, failed=0)


def test_a_contender_is_compared_with_nginx_of_the_same_pass() -> None:
    slices = {
        "nginx": [SLICE, replace(SLICE, requests_per_s=500.0)],
        "ours": [replace(SLICE, requests_per_s=900.0), replace(SLICE, requests_per_s=450.0)],
    }
    ours = render(slices).splitlines()[-1]
    assert "675 [450..900]" in ours
    assert "0.90 [0.90..0.90]" in ours


def test_without_nginx_there_are_figures_and_no_ratios() -> None:
    line = render({"ours": [SLICE]}).splitlines()[-1].split()
    assert line[:5] == ["ours", "1000", "[1000..1000]", "-", "-"]


@pytest.mark.system
def test_a_slice_counts_right_answers_and_the_cpu_of_the_program(tmp_path: Path) -> None:
    port = free_port()
    arguments = [sys.executable, str(stub.__file__), str(tmp_path / "stub.sock"), str(port)]
    with running(arguments, cores=os.sched_getaffinity(0), log=tmp_path / "log") as program:
        await_answer(f"127.0.0.1:{port}", "/v2/health/ready", program)
        taken = take_slice(Contender("stub", f"127.0.0.1:{port}", PATH, program), "key", 0.1)
        wrong = take_slice(Contender("stub", f"127.0.0.1:{port}", "/penstock/pod", program), "key", 0.1)
    assert taken.failed == 0
    assert taken.requests_per_s > 0
    assert 0 < taken.cpu_per_request_s < 0.1
    assert wrong.requests_per_s == 0
    assert wrong.failed > 0
