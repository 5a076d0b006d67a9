"""The table of what a hop adds."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.benchmarks.open_hop import OpenSlice, beyond, render, slice_of
from tests.fakes.records import Outcome, Record

DIRECT = OpenSlice(p50_s=0.0002, p99_s=0.001, late_p99_s=0.0005, cpu_per_request_s=0.0, failed=0)
NGINX = replace(DIRECT, p50_s=0.0003, p99_s=0.0012, cpu_per_request_s=40e-6)
OURS = replace(DIRECT, p50_s=0.00035, p99_s=0.0013, cpu_per_request_s=60e-6, failed=1)
SLICES = {"no proxy": [DIRECT, DIRECT], "nginx": [NGINX, NGINX], "Penstock": [OURS, OURS]}


def test_what_is_added_is_told_beyond_going_direct_in_the_same_pass() -> None:
    lines = [re.split(" {2,}", line.strip()) for line in render(SLICES, "no proxy", "nginx").splitlines()]
    assert lines[2] == ["no proxy", "0.20", "1.00", *("-",) * 7, "0", "2"]
    assert lines[4] == [
        *("Penstock", "0.35", "1.30", "150", "150..150", "300", "300..300"),
        *("60.0 [60.0..60.0]", "1.50", "1.50..1.50", "2", "2"),
    ]
    assert "0.50 ms late" in lines[5][0]


def test_what_we_add_beyond_nginx_is_said_with_the_goal() -> None:
    assert "Penstock adds 100 µs (100..100) to p99 beyond what nginx adds" in beyond(SLICES, "Penstock", "nginx")
    assert beyond({"Penstock": [OURS]}, "Penstock", "nginx") == ""


def test_latency_counts_from_the_moment_that_was_meant() -> None:
    records = [
        Record(index, float(index), index + 0.25, index + 0.5, Outcome.WHOLE, 200, is_right=index > 0)
        for index in range(4)
    ]
    assert slice_of(records, 0.4) == OpenSlice(p50_s=0.5, p99_s=0.5, late_p99_s=0.25, cpu_per_request_s=0.1, failed=1)
