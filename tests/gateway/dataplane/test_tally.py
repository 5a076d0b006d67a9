"""Tallies against classifying every request by itself."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.messages import LimitUses
from gateway.dataplane.tally import MAX_LIMITS, MAX_SERIES, OTHER_LIMITS, OTHER_TENANTS, LimitUseCounts, Tallies
from gateway.dataplane.usage import NOT_TOLD, NOTHING_USED, Usage
from gateway.decide.decision import Decision, Refusal
from gateway.decide.route import Api
from policies.snapshot.slos import Objective
from telemetry.slo.classify import classify, worst

OBJECTIVES = (
    Objective("up", "o", 3600.0, 0.99, status_below=500),
    Objective("fast", "o", 3600.0, 0.9, status_below=500, within_s=0.123),
    Objective("strict", "o", 3600.0, 0.9, status_below=400, within_s=0.5, ignore_status=(429, 503)),
    Objective("begun", "o", 3600.0, 0.9, status_below=500, first_byte_within_s=0.2345),
    Objective("warm", "o", 3600.0, 0.9, pod="ready"),
)
OTHERS = (
    Objective("loads", "o", 3600.0, 0.9, loads_within_s=10.0),
    Objective("right", "o", 3600.0, 0.9, label="right"),
)
DURATIONS_S = st.one_of(st.sampled_from([0.0, 0.1, 0.123, 0.1230001, 0.5, 60.0, 61.0]), st.floats(0, 100))
AMOUNTS = st.integers(0, 2**40)
USAGES = st.builds(Usage, st.one_of(st.just(NOT_TOLD), AMOUNTS), AMOUNTS, AMOUNTS, AMOUNTS)
FIRST_BYTES_S = st.one_of(st.none(), st.sampled_from([0.0, 0.2345, 0.23451, 0.5]), st.floats(0, 100))
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([200, 302, 404, 429, 499, 500, 503]),
        DURATIONS_S,
        FIRST_BYTES_S,
        st.booleans(),
        st.sampled_from(["ads", "search", "maps"]),
    ),
    max_size=40,
)


def decision(version: str = "1", tenant: str = "ads") -> Decision:
    return Decision(1, None, tenant, "gold", "k", api=Api.PREDICT, model="digits", version=version)


@given(REQUESTS)
def test_buckets_mean_what_each_request_means(requests: list[tuple[int, float, float | None, bool, str]]) -> None:
    tallies = Tallies({"digits": OBJECTIVES + OTHERS})
    expected: Counter[tuple[str, str]] = Counter()
    for status, duration_s, begun_s, is_cold, tenant in requests:
        first_byte_s = None if begun_s is None else min(begun_s, duration_s)
        told = decision(tenant=tenant)
        outcome = tallies.add(told, status, "", duration_s, "", NOTHING_USED, first_byte_s, is_cold=is_cold)
        meanings = [classify(one, status, duration_s, first_byte_s, is_cold=is_cold) for one in OBJECTIVES]
        assert outcome == worst(meanings)
        expected.update(
            (objective.name, meaning.value) for objective, meaning in zip(OBJECTIVES, meanings, strict=True)
        )
    _, counts, events = tallies.take()
    counted = Counter(
        {
            (one.slo, word): number
            for one in events
            for word, number in (("good", one.good), ("bad", one.bad), ("ignored", one.ignored))
        }
    )
    assert +counted == expected
    assert sum(sum(one.buckets) for one in counts) == len(requests)


def test_taking_begins_anew() -> None:
    tallies = Tallies({})
    tallies.add(decision(), 200, "", 0.1, "")
    tallies.take()
    assert tallies.take() == ({}, (), ())


def test_versions_are_counted_apart_and_a_model_without_objectives_means_nothing() -> None:
    tallies = Tallies({"digits": OBJECTIVES[:1]})
    tallies.add(decision("1"), 200, "", 0.1, "")
    tallies.add(decision("2"), 500, "handler_failed", 0.1, "")
    _, _, events = tallies.take()
    assert [(one.version, one.good, one.bad) for one in events] == [("1", 1, 0), ("2", 0, 1)]
    assert Tallies({}).add(decision(), 200, "", 0.1, "") == ""


def test_objectives_about_something_else_count_no_requests() -> None:
    tallies = Tallies({"digits": OTHERS})
    assert tallies.add(decision(), 500, "", 0.1, "", is_cold=True) == ""
    _, _, events = tallies.take()
    assert events == ()


def test_where_nobody_asks_for_the_first_byte_nothing_is_kept_of_it() -> None:
    tallies = Tallies({"digits": OBJECTIVES[:2]})
    assert tallies.add(decision(), 200, "", 60.0, "", first_byte_s=0.1) == "bad"
    assert all(series.moved is None for series in tallies._series.values())


def test_a_cold_request_of_a_kind_that_is_no_inference_is_no_event() -> None:
    tallies = Tallies({"digits": OBJECTIVES})
    about_the_model = Decision(1, None, "ads", "gold", "k", api=Api.MODEL_METADATA, model="digits", version="1")
    assert tallies.add(about_the_model, 200, "", 0.1, "", is_cold=True) == ""


def test_beyond_so_many_series_tenants_are_no_more_told_apart() -> None:
    tallies = Tallies({})
    for number in range(MAX_SERIES + 100):
        tallies.add(decision(tenant=f"t{number}"), 200, "", 0.1, "")
    _, counts, _ = tallies.take()
    assert len(counts) == MAX_SERIES + 1
    assert {one.tenant: sum(one.buckets) for one in counts}[OTHER_TENANTS] == 100


def test_the_exemplar_is_a_kept_trace() -> None:
    tallies = Tallies({})
    tallies.add(decision(), 200, "", 0.1, "a" * 32)
    tallies.add(decision(), 200, "", 0.2, "")
    _, (counts,), _ = tallies.take()
    assert (counts.exemplar_s, counts.exemplar_trace) == (0.1, "a" * 32)


@given(st.lists(st.tuples(st.sampled_from(["ads", "web"]), USAGES)))
def test_what_requests_used_adds_up_by_tenant_and_time_that_no_pod_told_is_none(used: list[tuple[str, Usage]]) -> None:
    tallies = Tallies({})
    expected: dict[str, list[int]] = {}
    for tenant, usage in used:
        tallies.add(decision(tenant=tenant), 200, "", 0.1, "", usage)
        sums = expected.setdefault(tenant, [0, 0, 0])
        sums[0] += max(0, usage.device_us)
        sums[1] += usage.request_bytes + usage.response_bytes
        sums[2] += usage.tokens
    _, counts, _ = tallies.take()
    assert {one.tenant: [one.device_us, one.body_bytes, one.tokens] for one in counts} == expected


def limited(refused: tuple[str, ...] = (), observed: tuple[str, ...] = ()) -> Decision:
    return Decision(1, Refusal("rate_limited", "", limits=refused) if refused else None, observed=observed)


def test_limits_count_what_they_refused_and_what_they_would_have_refused() -> None:
    uses = LimitUseCounts()
    for one in (limited(), limited(("tier", "gpu-day"), ("new",)), limited(("tier",)), limited((), ("new",))):
        uses.add(one)
    assert uses.take() == LimitUses({"tier": 2, "gpu-day": 1}, {"new": 2})
    assert uses.take() == LimitUses({}, {})


def test_beyond_so_many_limits_they_are_no_more_told_apart() -> None:
    uses = LimitUseCounts()
    for number in range(MAX_LIMITS + 100):
        uses.add(limited((f"limit-{number}",)))
    uses.add(limited(("limit-0",)))
    refused = uses.take().refused
    assert len(refused) == MAX_LIMITS + 1
    assert (refused["limit-0"], refused[OTHER_LIMITS]) == (2, 100)
