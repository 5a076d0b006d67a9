"""The benchmarks of decisions do what they say they measure."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.benchmarks import decide, decision_log, plan
from tests.benchmarks.large_policy import large_policy


def test_the_traffic_that_is_measured_is_admitted_but_for_what_the_new_policy_refuses() -> None:
    before = large_policy(plan.TENANTS, plan.ROUTES, rate_per_s=5.0)
    after = large_policy(plan.TENANTS, plan.ROUTES, rate_per_s=1.0)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "traffic.rec"
        plan.write_traffic(file, before, 2000)
        found = plan.replayed(file, before, after)
    assert found.traffic is not None
    assert (found.traffic.requests, found.traffic.as_recorded, found.traffic.late) == (2000, 1.0, 0)
    assert 100 < found.new_refusals < 1900


def test_the_requests_that_are_timed_are_all_admitted() -> None:
    assert all(decision.refusal is None for _, decision in decision_log.decided(10))
    assert len(decide.measure(decide.Plan(slices=1))) == 1


def test_both_say_what_they_measured() -> None:
    said: list[str] = []
    decision_log.run(decision_log.Plan(slices=2), said.append)
    plan.run(plan.Size(records=500), said.append)
    assert [line.partition(",")[0].partition(":")[0] for line in said] == [*["decision log"] * 4, "plan", "plan"]
