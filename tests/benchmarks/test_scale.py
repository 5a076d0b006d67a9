"""The pairs of the scale benchmark and their table."""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.cores import Cores
from tests.benchmarks.processes import pinned
from tests.benchmarks.scale import PAIRS, Size, render, running_size
from tests.benchmarks.test_slices import SLICE


def test_a_pair_is_told_by_its_ratio() -> None:
    large = replace(SLICE, cpu_per_request_s=22e-6, rss_bytes=50 * 2**20)
    line = render([(PAIRS[0], {"small": [SLICE, SLICE], "large": [large, large]})]).splitlines()[-1]
    assert re.split(" {2,}", line) == [
        *(PAIRS[0].name, "20.0 [20.0..20.0]", "22.0 [22.0..22.0]", "1.10", "1.10..1.10", "95%", "50", "0", "2"),
    ]


@pytest.mark.system
@pytest.mark.alone
def test_a_gateway_of_a_size_serves_all_of_its_tenants_routes_and_pods() -> None:
    cores = Cores.choose(os.sched_getaffinity(0))
    size = Size(tenants=20, routes=5, asked_routes=5, pods=7, workers=2)
    with (
        tempfile.TemporaryDirectory() as name,  # a short path: sockets lie in it
        running_size(size, cores, Path(name) / "large") as take,
        pinned({cores.load}),
    ):
        taken = take(8)
    assert taken.failed == 0
    assert taken.requests_per_s > 0
