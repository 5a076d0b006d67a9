"""One of several processes that draw from the same limits as fast as they can, and write down each attempt.

Run as ``python -m tests.system.limit_worker FD LOG TRIES``; the rates are those of ``RATES_PER_S``.
"""

from __future__ import annotations

import os
import random
import struct
import sys
import time

from gateway.dataplane.shared_limits import Committed, SharedLimits
from gateway.decide.limits import QuotaCharge, charge_rate
from gateway.limits.table import Busy

RATES_PER_S = (10, 100, 1000, 5000)
ATTEMPT = struct.Struct("<dH?")
QUOTA = "tenant/t/quota/all"


def burst_of(rate_per_s: int) -> int:
    """A fifth of a second's requests, and never less than one."""
    return max(1, rate_per_s // 5)


def main() -> None:
    """Try ``TRIES`` times, each time for one rate and the quota."""
    descriptor, path, tries = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    limits = SharedLimits(descriptor)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    draw = random.Random()
    print("ready", flush=True)
    for _ in range(tries):
        rate_per_s = draw.choice(RATES_PER_S)
        now_s, is_admitted = attempt(limits, rate_per_s)
        os.write(log, ATTEMPT.pack(now_s, rate_per_s, is_admitted))
        if not is_admitted and draw.random() < 0.05:
            time.sleep(0.0005)  # let the others run: there are fewer processors than workers


def attempt(limits: SharedLimits, rate_per_s: int) -> tuple[float, bool]:
    """Return when one request was decided, and whether it was admitted."""
    key = f"shared/{rate_per_s}/rate"
    while True:
        now_s = time.monotonic()
        try:
            verdict = charge_rate(key, rate_per_s, burst_of(rate_per_s), limits.tat_ns(key), now_s)
            standing = limits.standing(QUOTA)
            if verdict.charge is None or standing is None or standing.left < 1:
                return now_s, False
            committed = limits.commit((verdict.charge, QuotaCharge(QUOTA, "requests", 1)))
        except Busy:
            return now_s, False
        if committed is Committed.DONE:
            return now_s, True
        if committed is Committed.BUSY:
            return now_s, False


if __name__ == "__main__":
    main()
