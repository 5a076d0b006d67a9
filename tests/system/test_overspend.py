"""Eight processes, 100,000 requests, rates from 10/s to 5,000/s: an offline sweep over every interval finds no excess.

``PENSTOCK_KILLS`` is how many processes are killed on the way (10; ``make soak`` kills 100).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from gateway.decide.limits import charge_rate
from gateway.limits.file import open_table
from gateway.limits.table import LimitTable, RowKind
from tests.system.limit_worker import ATTEMPT, QUOTA, RATES_PER_S, burst_of

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

PROCESSES = 8
REQUESTS = 100_000
KILLS = int(os.environ.get("PENSTOCK_KILLS", "10"))


class Crowd:
    """The processes that draw from one limit table."""

    def __init__(self, state: Path, granted: int) -> None:
        self._state = state
        self.fd = open_table(state, PROCESSES)
        self.table = LimitTable(self.fd)
        row = self.table.find(QUOTA, RowKind.QUOTA)
        self.table.put_quota(row, granted=granted, shift=0, limit=10**9, resets_at_s=4e9, rate_per_s=0.0)
        self.started = 0
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, tries: int) -> None:
        self.started += 1
        command = [sys.executable, "-m", "tests.system.limit_worker"]
        arguments = [str(self.fd), str(self._state / f"{self.started}.log"), str(tries)]
        process = subprocess.Popen([*command, *arguments], pass_fds=[self.fd], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        self.running.append(process)

    def end(self, process: subprocess.Popen[bytes], *, kill: bool) -> None:
        if kill:
            process.kill()
        process.communicate(timeout=120)
        self.running.remove(process)

    def attempts(self) -> dict[int, list[tuple[float, bool]]]:
        """When requests were decided and whether they were admitted, by rate."""
        found: defaultdict[int, list[tuple[float, bool]]] = defaultdict(list)
        for log in self._state.glob("*.log"):
            content = log.read_bytes()
            whole = content[: len(content) // ATTEMPT.size * ATTEMPT.size]
            for moment_s, rate, is_admitted in ATTEMPT.iter_unpack(whole):
                found[rate].append((moment_s, is_admitted))
        return {rate: sorted(tried) for rate, tried in found.items()}

    def admitted(self) -> dict[int, list[float]]:
        """When requests were admitted, by rate."""
        return {rate: [at_s for at_s, is_in in tried if is_in] for rate, tried in self.attempts().items()}


def worst_excess(times: list[float], rate_per_s: float, burst: int) -> float:
    """Return by how much the fullest of all intervals exceeds ``burst + rate * length``; negative when none does.

    An interval from the i-th to the j-th request holds ``j - i + 1`` of them; with ``g(k) = k - rate * t(k)`` its
    excess is ``g(j) - g(i) + 1 - burst``, so one pass that keeps the smallest g so far sees every interval.
    """
    least, worst = float("inf"), float("-inf")
    for index, moment_s in enumerate(times):
        level = index - rate_per_s * moment_s
        least = min(least, level)
        worst = max(worst, level - least + 1 - burst)
    return worst


def ideally_admitted(attempts: list[tuple[float, bool]], rate_per_s: int, burst: int) -> int:
    """Return how many of the attempts one exact limiter alone would have admitted."""
    tat_ns = admitted = 0
    for moment_s, _ in attempts:
        verdict = charge_rate("ideal", rate_per_s, burst, tat_ns, moment_s)
        if verdict.charge is not None:
            tat_ns, admitted = verdict.charge.new_tat_ns, admitted + 1
    return admitted


def test_the_sweep_finds_one_request_too_many() -> None:
    fair = [1000.0 + index / 10 for index in range(50)]
    assert worst_excess([1000.0] * 4 + fair[1:], 10.0, 5) <= 1e-6
    assert worst_excess([1000.0] * 6 + fair[1:], 10.0, 5) >= 1 - 1e-6


def test_no_interval_is_overspent_and_none_is_wasted(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path, granted=10**9)
    for _ in range(PROCESSES):
        crowd.start(REQUESTS // PROCESSES)
    for process in list(crowd.running):
        crowd.end(process, kill=False)
    os.close(crowd.fd)
    admitted = crowd.admitted()
    assert sorted(admitted) == sorted(RATES_PER_S)
    for rate_per_s, times in admitted.items():
        assert worst_excess(times, rate_per_s, burst_of(rate_per_s)) <= 1e-6
    for rate_per_s, attempts in crowd.attempts().items():
        ideal = ideally_admitted(attempts, rate_per_s, burst_of(rate_per_s))
        assert len(admitted[rate_per_s]) >= ideal * 0.999 - PROCESSES


@pytest.mark.parametrize("granted", [10**9, 3000])
def test_kill_9_of_any_of_them_overspends_nothing(tmp_path: Path, granted: int) -> None:
    crowd = Crowd(tmp_path, granted)
    draw = random.Random(4)
    for _ in range(3):
        crowd.start(10**7)
    for _ in range(KILLS):
        time.sleep(draw.uniform(0.0, 0.05))
        crowd.end(draw.choice(crowd.running), kill=True)
        crowd.start(10**7)
    for process in list(crowd.running):
        crowd.end(process, kill=True)
    admitted = crowd.admitted()
    for rate_per_s, times in admitted.items():
        assert worst_excess(times, rate_per_s, burst_of(rate_per_s)) <= 1e-6
    total = sum(map(len, admitted.values()))
    crowd.table.fold_abandoned()
    spent = crowd.table.quota(crowd.table.find(QUOTA, RowKind.QUOTA)).used
    # A process that dies between its charge and its work wastes that one unit.
    assert total <= spent <= min(granted, total + KILLS + 3)
    os.close(crowd.fd)
