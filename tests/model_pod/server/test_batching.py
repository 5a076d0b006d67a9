"""The batching rule: examples as sentences, and what must hold for any queue."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from model_pod.protocols.exchange import BatchKey
from model_pod.server.batching import BatchingPolicy, Plan, plan_batch, plan_expiry

PREDICT, EXPLAIN = BatchKey(), BatchKey(explain=True)


@dataclass(frozen=True, eq=False)
class Waiting:
    """A queued request."""

    batch_key: BatchKey = PREDICT
    row_count: int = 1
    enqueued_s: float = 0.0
    deadline_s: float = 100.0


def test_an_idle_device_never_waits() -> None:
    a = Waiting()
    assert plan_batch([a], BatchingPolicy(8, 1.0), engine_idle=True, now_s=0.0) == Plan((), (a,), 0.0)


def test_a_full_batch_does_not_wait() -> None:
    a, b, c = Waiting(), Waiting(row_count=2), Waiting()
    assert plan_batch([a, b, c], BatchingPolicy(3, 1.0), engine_idle=False, now_s=0.0) == Plan((), (a, b), 0.0)


def test_a_batch_that_is_not_full_waits_for_a_busy_device_as_long_as_it_may() -> None:
    a, b = Waiting(enqueued_s=5.0), Waiting(enqueued_s=5.5)
    policy = BatchingPolicy(8, 1.0)
    assert plan_batch([a, b], policy, engine_idle=False, now_s=5.9) == Plan((), (), 6.0)
    assert plan_batch([a, b], policy, engine_idle=False, now_s=6.0) == Plan((), (a, b), 6.0)


def test_a_plan_is_due_again_at_the_first_deadline() -> None:
    a, b = Waiting(), Waiting(deadline_s=0.5)
    assert plan_batch([a, b], BatchingPolicy(8, 1.0), engine_idle=False, now_s=0.0).look_again_s == 0.5


def test_an_expired_request_is_never_run() -> None:
    late, alive = Waiting(deadline_s=1.0), Waiting()
    assert plan_batch([late, alive], BatchingPolicy(8, 0.0), engine_idle=True, now_s=1.0) == Plan(
        (late,), (alive,), 1.0
    )
    assert plan_batch([late], BatchingPolicy(8, 0.0), engine_idle=True, now_s=2.0) == Plan((late,), (), math.inf)


def test_a_request_that_does_not_fit_is_not_overtaken_by_one_that_would() -> None:
    a, wide, narrow = Waiting(row_count=3), Waiting(row_count=2), Waiting()
    assert plan_batch([a, wide, narrow], BatchingPolicy(4, 1.0), engine_idle=False, now_s=0.0).batch == (a,)


def test_while_nothing_can_start_only_deadlines_count() -> None:
    late, a, b = Waiting(deadline_s=1.0), Waiting(deadline_s=9.0), Waiting(deadline_s=3.0)
    assert plan_expiry([late, a, b], now_s=1.0) == Plan((late,), (), 3.0)
    assert plan_expiry([], now_s=1.0) == Plan((), (), math.inf)


times = st.integers(0, 20).map(float)
policies = st.builds(BatchingPolicy, max_rows=st.integers(4, 8), max_wait_s=times)
queues = st.lists(
    st.builds(
        Waiting,
        batch_key=st.sampled_from([PREDICT, EXPLAIN]),
        row_count=st.integers(1, 4),
        enqueued_s=times,
        deadline_s=times,
    ),
    max_size=12,
).map(lambda queue: sorted(queue, key=lambda request: request.enqueued_s))


@given(queues, policies, st.booleans(), times)
def test_every_request_is_expired_or_in_the_batch_or_still_waiting(
    queue: list[Waiting], policy: BatchingPolicy, engine_idle: bool, now_s: float
) -> None:
    plan = plan_batch(queue, policy, engine_idle, now_s)
    assert set(plan.expired) == {request for request in queue if request.deadline_s <= now_s}
    assert not set(plan.expired) & set(plan.batch)
    assert len(set(plan.batch)) == len(plan.batch)
    assert set(plan.batch) <= set(queue)


@given(queues, policies, st.booleans(), times)
def test_a_batch_has_one_key_and_no_more_rows_than_it_may(
    queue: list[Waiting], policy: BatchingPolicy, engine_idle: bool, now_s: float
) -> None:
    batch = plan_batch(queue, policy, engine_idle, now_s).batch
    assert len({request.batch_key for request in batch}) <= 1
    assert sum(request.row_count for request in batch) <= policy.max_rows


@given(queues, policies, times)
def test_nobody_waits_while_the_device_is_idle(queue: list[Waiting], policy: BatchingPolicy, now_s: float) -> None:
    plan = plan_batch(queue, policy, True, now_s)
    assert bool(plan.batch) == (len(plan.expired) < len(queue))


@given(queues, policies, st.booleans(), times)
def test_the_oldest_live_request_leads_and_equal_keys_keep_their_order(
    queue: list[Waiting], policy: BatchingPolicy, engine_idle: bool, now_s: float
) -> None:
    plan = plan_batch(queue, policy, engine_idle, now_s)
    alive = [request for request in queue if request.deadline_s > now_s]
    if plan.batch:
        alike = [request for request in alive if request.batch_key == alive[0].batch_key]
        assert list(plan.batch) == alike[: len(plan.batch)]


@given(queues, policies)
def test_nothing_starves(queue: list[Waiting], policy: BatchingPolicy) -> None:
    left = list(queue)
    for _ in queue:
        plan = plan_batch(left, policy, engine_idle=True, now_s=-1.0)
        left = [request for request in left if request not in plan.batch]
    assert left == []


@given(queues, policies, st.booleans(), times)
def test_a_later_look_is_later_and_changes_something(
    queue: list[Waiting], policy: BatchingPolicy, engine_idle: bool, now_s: float
) -> None:
    plan = plan_batch(queue, policy, engine_idle, now_s)
    if not plan.batch and plan.look_again_s < math.inf:
        assert plan.look_again_s > now_s
        left = [request for request in queue if request not in plan.expired]
        then = plan_batch(left, policy, engine_idle, plan.look_again_s)
        assert then.expired or then.batch
