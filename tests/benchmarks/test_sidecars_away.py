"""What the benchmark of absent sidecars says of slices."""

from __future__ import annotations

from tests.benchmarks.sidecars_away import Taken, _row
from tests.fakes.records import Outcome, Record


def taken(latency_s: float, cpu_s: float) -> Taken:
    return Taken([Record(i, 0.0, 0.0, latency_s, Outcome.WHOLE) for i in range(100)], cpu_s)


def test_a_row_says_how_many_slices_there_were_what_they_took_and_its_ratio_to_those_of_the_same_passes() -> None:
    running = [taken(0.010, 0.0002), taken(0.020, 0.0004)]
    stopped = [taken(0.011, 0.0003), taken(0.022, 0.0006)]
    row = _row("stopped", stopped, running)
    assert row[:2] == ("stopped", "2")
    assert row[2] == "16.50 [11.00..22.00]"
    assert row[8:] == ("450 [300..600]", "1.500", "1.500..1.500")
    assert _row("run", running, running)[9:] == ("1.000", "1.000..1.000")
