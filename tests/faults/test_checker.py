"""Each invariant has a ledger that breaks it, and the same ledger without the mistake, which holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.checker import (
    Evidence,
    Footprint,
    Health,
    KnownReason,
    check,
    health_tells_the_truth,
    keyed_requests_succeed,
    limits_hold,
    no_secret_is_shown,
    nobody_else_is_hurt,
    nothing_leaks,
    recovers_in_time,
)
from tests.faults.ledgers import Attempt, Audited, Death, End, Execution, Outcome, Told

REASONS = {
    "queue_full": KnownReason(503, True),
    "pod_lost": KnownReason(502, False),
    "key_missing": KnownReason(401, False),
}


def attempt(number: int = 0, nth: int = 0, at_s: float = 10.0, **fields: Any) -> Attempt:
    return Attempt(**{
        "client": "c", "request": number, "attempt": nth, "at_s": at_s, "tenant": "blue",
        "payload_sha256": f"payload-{number}", **fields,
    })  # fmt: skip


def told(number: int = 0, **fields: Any) -> Told:
    return Told(**{
        "request_id": f"id-{number}-0", "tenant": "blue", "payload_sha256": f"payload-{number}", "pod": "a",
        "pid": 7, "seq": number, **fields,
    })  # fmt: skip


def right(number: int = 0, nth: int = 0, at_s: float = 10.1, **fields: Any) -> End:
    return End(**{
        "client": "c", "request": number, "attempt": nth, "at_s": at_s, "outcome": Outcome.WHOLE, "status": 200,
        "request_id": f"id-{number}-{nth}", "generation": 1, "device_us": 300, "told": told(number), **fields,
    })  # fmt: skip


def lost(outcome: Outcome = Outcome.LOST, number: int = 0, nth: int = 0, at_s: float = 10.1) -> End:
    return End("c", number, nth, at_s, outcome, why="closed")


def refused(number: int = 0, reason: str = "queue_full", status: int = 503, nth: int = 0, **fields: Any) -> End:
    return right(
        number, nth, **{"status": status, "reason": reason, "told": None, "device_us": -1, "is_retryable": True,
        "has_retry_after": True, **fields},
    )  # fmt: skip


def ran(number: int = 0, pod: str = "a", pid: int = 7, seq: int = -1, at_s: float = 10.05, phase: str = "start",
        server_pid: int = 0) -> Execution:  # fmt: skip
    seq = number if seq < 0 else seq
    return Execution(phase, pod, pid, server_pid or pid, seq, f"id-{number}-0", f"payload-{number}", at_s)


def record(end: End, **fields: Any) -> Audited:
    return Audited(**{
        "request_id": end.request_id, "at_s": end.at_s - 0.05, "tenant": "blue", "refusal": "", "status": end.status,
        "reason": end.reason, "generation": 1, "device_us": end.device_us, "duration_s": 0.05, **fields,
    })  # fmt: skip


def evidence(attempts: list[Attempt], ends: list[End], executions: list[Execution], **fields: Any) -> Evidence:
    """Return ledgers of a run whose gateway recorded every whole answer."""
    audited = [record(end) for end in ends if end.outcome is Outcome.WHOLE]
    return replace(Evidence(attempts, ends, executions, audited, REASONS, {1}), **fields)


def one_request(ends: list[End] | None = None, executions: list[Execution] | None = None, **fields: Any) -> Evidence:
    runs = [ran(), ran(phase="end")] if executions is None else executions
    return evidence([attempt()], [right()] if ends is None else ends, runs, **fields)


def worker_died(at_s: float = 10.05) -> Death:
    return Death("worker", 99, at_s, at_s + 0.01)


def test_a_run_without_a_fault_breaks_nothing() -> None:
    assert check(one_request()) == {}


def keyed_twice(*deaths: Death, server_pid: int = 7) -> Evidence:
    """A key whose first answer was lost with a worker, and that ran in another pod then."""
    return evidence(
        [attempt(idempotency_key="k"), attempt(nth=1, at_s=10.2, idempotency_key="k")],
        [lost(), right(nth=1, at_s=10.3, told=told(pod="b", pid=8, request_id="id-0-1"))],
        [ran(pid=7, server_pid=server_pid), ran(pod="b", pid=8, at_s=10.25)],
        deaths=[worker_died(), *deaths],
    )


BROKEN: dict[str, tuple[str, Callable[[], Evidence]]] = {
    "an attempt without an end": ("I1", lambda: evidence([attempt(), attempt(1)], [right()], [ran()])),
    "an end without an attempt": ("I1", lambda: evidence([attempt()], [right(), refused(5)], [ran()])),
    "a hang": ("I1", lambda: one_request(ends=[right(is_hang=True)])),
    "a connection that is refused": ("I1", lambda: evidence([attempt()], [lost(Outcome.NOT_CONNECTED)], [])),
    "a loss though nobody died": ("I1", lambda: evidence([attempt()], [lost()], [])),
    "a loss long after a death": ("I1", lambda: evidence([attempt()], [lost()], [], deaths=[worker_died(5.0)])),
    "a loss before the first byte when a pod died": (
        "I1", lambda: evidence([attempt()], [lost()], [], deaths=[Death("pod", 7, 10.05, 10.06)])),
    "an answer cut though nobody died": ("I1", lambda: evidence([attempt()], [lost(Outcome.TRUNCATED)], [])),
    "an answer without a record": ("I1", lambda: one_request(audited=[])),
    "an answer without a record long after a death": (
        "I1", lambda: one_request(audited=[], deaths=[worker_died(5.0)])),
    "two records of one request": ("I1", lambda: one_request(audited=[record(right()), record(right())])),
    "a record of another answer": ("I1", lambda: one_request(audited=[record(right(), status=502)])),
    "an answer without a request id": ("I1", lambda: one_request(ends=[right(request_id="")])),
    "an attempt with two ends": ("I2", lambda: one_request(ends=[right(), right()])),
    "bytes after an answer": ("I2", lambda: one_request(ends=[right(is_followed=True)])),
    "one request id in two answers": (
        "I2", lambda: evidence([attempt(), attempt(1)], [right(), right(1, request_id="id-0-0")], [ran(), ran(1)])),
    "a stored answer that changes": ("I2", lambda: evidence(
        [attempt(idempotency_key="k"), attempt(nth=1, idempotency_key="k")],
        [right(), right(nth=1, at_s=10.2, told=told(seq=5), is_replay=True, device_us=0)],
        [ran(), ran(seq=5)])),
    "a payload that ran twice": ("I3", lambda: one_request(executions=[ran(), ran(pod="b", pid=8)])),
    "a payload that nobody sent": ("I3", lambda: one_request(executions=[ran(), ran(3)])),
    "a key that ran again while its pod lives": ("I3", keyed_twice),
    "an answer to another payload": ("I4", lambda: one_request(ends=[right(told=told(payload_sha256="other"))])),
    "an answer to another tenant": ("I4", lambda: one_request(ends=[right(told=told(tenant="red"))])),
    "a request on record as another tenant's": ("I4", lambda: one_request(audited=[record(right(), tenant="red")])),
    "an answer to another request": ("I4", lambda: one_request(ends=[right(told=told(request_id="id-7-0"))])),
    "an answer that nothing ran for": ("I4", lambda: one_request(executions=[])),
    "half an answer that looks whole": ("I4", lambda: one_request(ends=[right(outcome=Outcome.LOOKS_WHOLE)])),
    "a reason out of no registry": ("I5", lambda: evidence([attempt()], [refused(reason="tired")], [])),
    "a reason with another status": ("I5", lambda: evidence([attempt()], [refused(status=500)], [])),
    "a refusal that does not say when": ("I5", lambda: evidence([attempt()], [refused(has_retry_after=False)], [])),
    "a refusal that does not say whether": ("I5", lambda: evidence([attempt()], [refused(is_retryable=None)], [])),
    "a refusal that says it wrongly": ("I5", lambda: evidence([attempt()], [refused(is_retryable=False)], [])),
    "a charge that was not told": ("I7", lambda: one_request(audited=[record(right(), device_us=900)])),
    "a charge that nobody has an answer for": (
        "I7", lambda: one_request(audited=[record(right()), record(right(), request_id="gone")])),
    "a charge for a refusal": (
        "I7", lambda: evidence([attempt()], [refused()], [], audited=[record(refused(), device_us=300)])),
    "a charge for a stored answer": (
        "I7", lambda: one_request(ends=[right(is_replay=True)], audited=[record(right(), device_us=300)])),
    "a generation that never was": ("I13", lambda: one_request(generations={2})),
    "an answer that names no generation": ("I13", lambda: one_request(ends=[right(generation=-1)])),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_ledger_is_found(name: str) -> None:
    invariant, make = BROKEN[name]
    assert invariant in check(make())


HOLDS: dict[str, Callable[[], Evidence]] = {
    "a loss with the worker": lambda: evidence([attempt()], [lost()], [ran()], deaths=[worker_died()]),
    "an answer cut with the pod": lambda: evidence(
        [attempt()], [lost(Outcome.TRUNCATED)], [ran()], deaths=[Death("pod", 7, 10.05, 10.06)]),
    "a loss where connections may be cut": lambda: evidence([attempt()], [lost()], [], may_cut=[(9.0, 11.0)]),
    "a record that died with its worker": lambda: one_request(audited=[], deaths=[worker_died(10.9)]),
    "a refusal before anybody knew whose it was": lambda: evidence(
        [attempt()],
        [refused(reason="key_missing", status=401, is_retryable=False, has_retry_after=False)], [], audited=[]),
    "an answer of a model that is not told who calls": lambda: one_request(ends=[right(told=told(tenant=""))]),
    "a refusal that says all": lambda: evidence([attempt()], [refused()], []),
    "a key that ran again after its pod died": lambda: keyed_twice(Death("pod", 7, 10.1, 10.11)),
    "a key that ran again after its pod's server died": lambda: keyed_twice(
        Death("pod", 6, 10.1, 10.11), server_pid=6),
    "a stored answer": lambda: evidence(
        [attempt(idempotency_key="k"), attempt(nth=1, at_s=10.2, idempotency_key="k")],
        [lost(), right(nth=1, at_s=10.3, is_replay=True, device_us=0)], [ran()], deaths=[worker_died()]),
}  # fmt: skip


@pytest.mark.parametrize("name", HOLDS)
def test_what_has_a_cause_is_no_violation(name: str) -> None:
    assert check(HOLDS[name]()) == {}


def test_a_key_that_got_no_answer_in_the_end_is_found() -> None:
    failed = evidence([attempt(idempotency_key="k")], [refused()], [])
    assert keyed_requests_succeed(failed) == ["request 0 of c under key k ended with O1 503 queue_full"]
    again = [attempt(idempotency_key="k"), attempt(nth=1, at_s=10.2, idempotency_key="k")]
    assert keyed_requests_succeed(evidence(again, [refused(), right(nth=1)], [ran()])) == []


def test_one_request_more_than_a_limit_gives_is_found() -> None:
    fair = [100.0 + index / 10 for index in range(50)]
    assert limits_hold([100.0] * 4 + fair[1:], rate_per_s=10.0, burst=5) == []
    assert limits_hold([100.0] * 6 + fair[1:], rate_per_s=10.0, burst=5) != []
    assert limits_hold([100.0] * 6 + fair[1:], rate_per_s=10.0, burst=5, excess=2.0) == []


@given(st.lists(st.floats(0.0, 60.0), max_size=60), st.floats(0.5, 20.0), st.integers(1, 10))
def test_the_sweep_of_a_limit_agrees_with_every_interval_looked_at(
    moments_s: list[float], rate_per_s: float, burst: int
) -> None:
    ordered = sorted(moments_s)
    worst = max(
        (
            last - first + 1 - burst - rate_per_s * (ordered[last] - ordered[first])
            for first in range(len(ordered))
            for last in range(first, len(ordered))
        ),
        default=-1.0,
    )
    if abs(worst) > 1e-5:  # at the very limit, rounding decides
        assert bool(limits_hold(moments_s, rate_per_s=rate_per_s, burst=burst)) == (worst > 0)


def test_those_beside_a_fault_have_neither_errors_nor_long_waits() -> None:
    quick = [(right(number), 0.01) for number in range(200)]
    assert nobody_else_is_hurt(quick, baseline_p99_s=0.01) == []
    assert nobody_else_is_hurt([*quick, (refused(), 0.01)], baseline_p99_s=0.01) != []
    assert nobody_else_is_hurt([*quick, (lost(), 0.01)], baseline_p99_s=0.01) != []
    assert nobody_else_is_hurt([*quick, *[(right(), 0.2)] * 5], baseline_p99_s=0.01) != []


def test_recovery_is_over_when_it_was_promised() -> None:
    ends = [lost(at_s=10.5), right(at_s=12.5)]
    assert recovers_in_time(ends, healed_s=10.0, within_s=2.0) == []
    assert recovers_in_time([*ends, refused(at_s=13.0)], healed_s=10.0, within_s=2.0) != []
    assert recovers_in_time(ends[:1], healed_s=10.0, within_s=2.0) != []


@pytest.mark.parametrize("field", ["descriptors", "threads", "rss_bytes"])
def test_a_leak_is_found(field: str) -> None:
    before = {"worker": Footprint(10, 3, 50 * 2**20)}
    more = replace(before["worker"], **{field: 60 * 2**20})
    assert nothing_leaks(before, before) == []
    assert nothing_leaks(before, {"worker": more}) != []
    assert nothing_leaks(before, {}) != []


def test_a_secret_in_an_output_is_found_and_not_repeated() -> None:
    found = no_secret_is_shown({"log": b"key is canary-1234567890", "trace": b"nothing"}, ["canary-1234567890"])
    assert found == ["log shows the secret canary-1..."]


def test_health_that_lies_is_found() -> None:
    down = [(10.0, 20.0)]
    honest = [Health(9.0, True, True), Health(10.2, True, True), Health(15.0, False, True), Health(21.0, True, True)]
    assert health_tells_the_truth(honest, down, notices_within_s=1.0) == []
    assert health_tells_the_truth([*honest, Health(16.0, True, True)], down, notices_within_s=1.0) != []
    assert health_tells_the_truth([Health(9.0, True, False)], down, notices_within_s=1.0) != []
    assert health_tells_the_truth([Health(25.0, False, True)], down, notices_within_s=1.0) != []
    assert health_tells_the_truth([], down, notices_within_s=1.0) != []
    # What was asked before, and answered after, is true of some moment between.
    assert health_tells_the_truth([Health(9.9, False, True, took_s=0.2)], down, notices_within_s=1.0) == []
    assert health_tells_the_truth([Health(19.9, True, True, took_s=0.2)], down, notices_within_s=1.0) == []
    assert health_tells_the_truth([Health(9.7, False, True, took_s=0.2)], down, notices_within_s=1.0) != []


def test_ledgers_are_read_as_they_were_written() -> None:
    for line in (attempt(), right(), ran(), worker_died()):
        assert msgspec.json.decode(msgspec.json.encode(line), type=type(line)) == line
