"""The table of the recorder's benchmark, and the sink that takes what is recorded."""

from __future__ import annotations

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.benchmarks.recorder import Arm, render
from tests.benchmarks.sink import serve
from tests.benchmarks.slices import Slice

OFF = Slice(requests_per_s=1000.0, cpu_per_request_s=50e-6, busy=0.95, p50_s=0.001, p99_s=0.002, failed=0)


def test_an_arm_is_compared_with_the_same_pass_of_the_arm_that_records_nothing() -> None:
    slow_minute = replace(OFF, requests_per_s=500.0, cpu_per_request_s=100e-6)
    taken = [
        replace(OFF, requests_per_s=980.0, cpu_per_request_s=51.5e-6),
        replace(slow_minute, requests_per_s=490.0, cpu_per_request_s=101.5e-6, failed=3),
    ]
    header, _, off, recorded = (
        re.split(" {2,}", line.strip())
        for line in render({Arm.OFF: [OFF, slow_minute], Arm.RECORDED: taken}).splitlines()
    )
    assert header == ["req/s", "× off", "95 %", "CPU µs/req", "extra µs", "95 %", "busy", "failed", "n"]
    assert off[2:4] == ["1.000", "1.000..1.000"]
    assert off[5:7] == ["0.00", "0.00..0.00"]
    assert recorded == [
        *(Arm.RECORDED, "735 [490..980]", "0.980", "0.980..0.980"),
        *("76.5 [51.5..101.5]", "1.50", "1.50..1.50", "95%", "3", "2"),
    ]


def test_an_arm_that_was_not_there_in_every_round_is_left_out() -> None:
    lines = render({Arm.OFF: [OFF, OFF], Arm.EVERYTHING: [OFF]}).splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [str(Arm.OFF)]


def test_the_sink_counts_the_packets_of_all_connections_before_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "records.sock"
    stop = threading.Event()
    with ThreadPoolExecutor() as threads:
        counting = threads.submit(serve, str(path), stop)
        while not path.exists():
            assert not counting.done()
        for _ in range(3):
            send(path, b"one", b"two" * 10_000)
        stop.set()
        assert counting.result() == 6


def send(path: Path, *packets: bytes) -> None:
    """Send packets as a recorder does, trying again until somebody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        while connection.connect_ex(str(path)):
            pass
        for packet in packets:
            connection.send(packet)
