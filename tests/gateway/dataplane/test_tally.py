"""Tallies against classifying every request by itself."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.tally import MAX_SERIES, OTHER_TENANTS, Tallies
from gateway.decide.decision import Decision
from gateway.decide.route import Api
from policies.snapshot import Objective
from telemetry.slo.classify import classify, worst

OBJECTIVES = (
    Objective("up", "o", 3600.0, 0.99, status_below=500),
    Objective("fast", "o", 3600.0, 0.9, status_below=500, within_s=0.123),
    Objective("strict", "o", 3600.0, 0.9, status_below=400, within_s=0.5, ignore_status=(429, 503)),
)
DURATIONS_S = st.one_of(st.sampled_from([0.0, 0.1, 0.123, 0.1230001, 0.5, 60.0, 61.0]), st.floats(0, 100))
REQUESTS = st.lists(st.tuples(st.sampled_from([200, 302, 404, 429, 499, 500, 503]), DURATIONS_S), max_size=40)


def decision(version: str = "1", tenant: str = "ads") -> Decision:
    return Decision(1, None, tenant, "gold", "k", Api.PREDICT, "digits", version)


@given(REQUESTS)
def test_buckets_mean_what_each_request_means(requests: list[tuple[int, float]]) -> None:
    tallies = Tallies({"digits": OBJECTIVES})
    expected: Counter[tuple[str, str]] = Counter()
    for status, duration_s in requests:
        outcome = tallies.add(decision(), status, "", duration_s, "")
        meanings = [classify(objective, status, duration_s) for objective in OBJECTIVES]
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
