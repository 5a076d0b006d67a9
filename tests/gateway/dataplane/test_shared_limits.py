"""One rate for all workers: exact between processes, and no worker's death or stop holds up the others."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

from gateway.control.messages import LIMITS_TABLE_BYTES
from gateway.dataplane.shared_limits import SharedLimits
from gateway.decide.limits import Charge, charge_rate
from tests.gateway.policy import limits_memory

# One of several workers: tries 2,000 times at one fixed moment, so that what all of them admit is exactly the burst.
WORKER = """
import sys
from gateway.dataplane.shared_limits import SharedLimits
from gateway.decide.limits import charge_rate
limits = SharedLimits(int(sys.argv[1]))
admitted = 0
for _ in range(2000):
    while True:
        verdict = charge_rate("tenant/a/rate", 100.0, 1500, limits.tat_s("tenant/a/rate"), 1000.0)
        if verdict.charge is None or limits.commit((verdict.charge,)):
            break
    admitted += verdict.charge is not None
print(admitted)
"""


def test_four_workers_together_admit_the_burst_and_not_one_more() -> None:
    descriptor = limits_memory()
    try:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(descriptor)],
                pass_fds=[descriptor],
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        admitted = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    finally:
        os.close(descriptor)
    assert sum(admitted) == 1500


def test_a_limit_has_one_place_whoever_looks_for_it() -> None:
    descriptor = limits_memory()
    one, other = SharedLimits(descriptor), SharedLimits(descriptor)
    assert one.commit((Charge("x", 0.0, 5.0), Charge("y", 0.0, 6.0)))
    assert (other.tat_s("x"), other.tat_s("y"), other.tat_s("z")) == (5.0, 6.0, 0.0)
    os.close(descriptor)


def test_a_charge_against_an_old_reading_is_not_written() -> None:
    descriptor = limits_memory()
    limits = SharedLimits(descriptor)
    assert limits.commit((Charge("x", 0.0, 5.0),))
    assert not limits.commit((Charge("x", 0.0, 7.0),))
    assert limits.tat_s("x") == 5.0
    os.close(descriptor)


def test_a_worker_that_stopped_inside_its_lock_only_costs_the_charge() -> None:
    descriptor = limits_memory()
    limits = SharedLimits(descriptor)
    limits.tat_s("x")
    held = "import fcntl,sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", held, str(descriptor)],
        pass_fds=[descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert not limits.commit((Charge("x", 0.0, 5.0),))
    holder.communicate()
    assert limits.commit((Charge("x", 0.0, 5.0),))
    os.close(descriptor)


def test_a_full_table_leaves_each_limit_to_its_worker() -> None:
    descriptor = limits_memory()
    os.pwrite(descriptor, b"\xff" * LIMITS_TABLE_BYTES, 0)
    limits = SharedLimits(descriptor)
    verdict = charge_rate("x", 1.0, 1, limits.tat_s("x"), 10.0)
    assert verdict.charge is not None
    assert limits.commit((verdict.charge,))
    assert charge_rate("x", 1.0, 1, limits.tat_s("x"), 10.0).charge is None
    fcntl.lockf(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)
