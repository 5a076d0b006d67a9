"""Cumulative counts of requests: bounded, and never wrong at an edge that stays."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.control.busy_tenants import SHOWN_TENANTS
from gateway.control.cost_totals import Cost
from gateway.control.messages import RequestCounts
from gateway.control.request_totals import (
    ChargedKind,
    DurationKind,
    Exemplar,
    RequestKind,
    RequestTotals,
    regridded,
)
from gateway.control.series_room import SeriesRoom

EDGES_S = (0.1, 0.2)
EDGES = st.lists(st.integers(1, 60).map(lambda tenths: tenths / 10), min_size=1, max_size=8, unique=True).map(
    lambda edges: tuple(sorted(edges))
)


def counted(
    tenant: str = "t", status: int = 200, buckets: tuple[int, ...] = (1, 0, 0), version: str = "1", trace: str = ""
) -> RequestCounts:
    return RequestCounts("digits", version, tenant, "gold", status, "", buckets, 0.5, 0.15 if trace else 0.0, trace)


def test_requests_add_up_by_kind_and_by_duration() -> None:
    totals = RequestTotals(SeriesRoom())
    for counts in (counted(), counted(buckets=(0, 2, 1)), counted(status=503)):
        assert totals.add(counts, EDGES_S, now_s=0.0)
    assert totals.requests == {
        RequestKind("digits", "1", "t", "2xx", ""): 4,
        RequestKind("digits", "1", "t", "5xx", ""): 1,
    }
    durations = totals.durations[DurationKind("digits", "1", "2xx")]
    assert (durations.buckets, durations.count, durations.sum_s) == ([1, 2, 1], 4, 1.0)
    assert totals.by_class == {"2xx": 4, "5xx": 1}


def test_the_latest_exemplar_of_a_bucket_is_kept_and_follows_its_duration() -> None:
    totals = RequestTotals(SeriesRoom())
    totals.add(counted(trace="a" * 32), EDGES_S, now_s=1.0)
    totals.add(counted(trace="b" * 32), EDGES_S, now_s=2.0)
    durations = totals.durations[DurationKind("digits", "1", "2xx")]
    latest = Exemplar(0.15, "b" * 32, 2.0)
    assert durations.exemplars == {1: latest}
    totals.use_edges({"digits": (0.05, 0.1, 0.12, 0.2)})
    assert durations.exemplars == {3: latest}


@given(EDGES, EDGES, st.lists(st.integers(0, 80).map(lambda tenths: tenths / 10), max_size=40))
def test_counts_by_other_edges_are_exact_where_both_have_an_edge_and_never_too_large(
    old: tuple[float, ...], new: tuple[float, ...], durations_s: list[float]
) -> None:
    buckets = [0] * (len(old) + 1)
    for duration_s in durations_s:
        buckets[bisect_left(old, duration_s)] += 1
    moved = regridded(buckets, old, new)
    assert sum(moved) == len(durations_s)
    for edge_s, cumulative in zip(new, accumulate(moved), strict=False):
        truth = sum(duration_s <= edge_s for duration_s in durations_s)
        assert cumulative == truth if edge_s in old else cumulative <= truth


def test_counts_that_find_no_room_are_refused_and_known_ones_go_on() -> None:
    room = SeriesRoom(most=6)  # one kind and one histogram of two edges
    totals = RequestTotals(room)
    assert totals.add(counted(), EDGES_S, now_s=0.0)
    assert not totals.add(counted(status=500), EDGES_S, now_s=0.0)
    assert (room.left, room.refused) == (0, 2)
    assert totals.add(counted(), EDGES_S, now_s=0.0)
    assert list(totals.requests.values()) == [2]
    assert totals.by_class == {"2xx": 2, "5xx": 1}


def test_only_the_busiest_tenants_have_a_label() -> None:
    totals = RequestTotals(SeriesRoom())
    for number in range(SHOWN_TENANTS + 50):
        totals.add(counted(f"t{number}"), EDGES_S, now_s=0.0)
    assert len(totals.requests) == SHOWN_TENANTS + 1
    assert totals.requests[RequestKind("digits", "1", "other", "2xx", "")] == 50


def test_a_tenant_that_lost_its_place_loses_its_series_and_the_room_is_free_again() -> None:
    room = SeriesRoom()
    totals = RequestTotals(room)
    for number in range(SHOWN_TENANTS):
        totals.add(counted(f"t{number}"), EDGES_S, now_s=0.0)
    totals.add(counted("busy", buckets=(9, 0, 0)), EDGES_S, now_s=0.0)
    left = room.left
    totals.tidy({("digits", "1")}, now_s=0.0)
    assert room.left == left + 1
    assert len(totals.requests) == SHOWN_TENANTS
    totals.add(counted("busy"), EDGES_S, now_s=0.0)
    assert totals.requests[RequestKind("digits", "1", "busy", "2xx", "")] == 1


def test_a_version_is_forgotten_once_it_is_gone_and_silent() -> None:
    room = SeriesRoom()
    totals = RequestTotals(room)
    totals.add(counted(), EDGES_S, now_s=0.0)
    totals.add(counted(version="2"), EDGES_S, now_s=3000.0)
    totals.tidy({("digits", "1")}, now_s=4000.0)
    assert len(totals.requests) == 2
    totals.tidy({("digits", "1")}, now_s=6601.0)
    assert [kind.version for kind in totals.requests] == ["1"]
    assert [kind.version for kind in totals.durations] == ["1"]
    totals.tidy((), now_s=6601.0)
    assert room.left == SeriesRoom().left


def test_refusals_of_a_model_that_is_gone_are_forgotten_and_those_of_no_model_stay() -> None:
    room = SeriesRoom()
    totals = RequestTotals(room)
    for model in ("digits", "old", ""):
        refused = RequestCounts(model, "", "t", "", 403, "model_not_allowed", (1, 0, 0), 0.1)
        totals.add(refused, EDGES_S, now_s=0.0)
    totals.tidy({("digits", "1")}, now_s=3601.0)
    assert [kind.model for kind in totals.requests] == ["digits", ""]
    assert [kind.model for kind in totals.durations] == ["digits", ""]
    totals.tidy((), now_s=3601.0)
    assert room.left == SeriesRoom().left - 6


def costly(tenant: str = "t", device_us: int = 5, version: str = "1") -> RequestCounts:
    return replace(counted(tenant, version=version), device_us=device_us, body_bytes=100, tokens=7)


def test_what_requests_cost_adds_up_and_what_cost_nothing_has_no_series() -> None:
    totals = RequestTotals(SeriesRoom())
    for counts in (costly(), replace(costly(device_us=2), status=503), counted("free")):
        totals.add(counts, EDGES_S, now_s=0.0)
    assert totals.charged == {ChargedKind("digits", "1", "t"): Cost(2, 7, 200, 14)}


def test_costs_have_the_tenants_that_requests_have_and_give_their_room_back() -> None:
    room = SeriesRoom()
    totals = RequestTotals(room)
    for number in range(SHOWN_TENANTS + 5):
        totals.add(costly(f"t{number}"), EDGES_S, now_s=0.0)
    assert totals.charged[ChargedKind("digits", "1", "other")].device_us == 25
    assert {kind.tenant for kind in totals.charged} == {kind.tenant for kind in totals.requests}
    totals.tidy((), now_s=3601.0)
    assert totals.charged == {}
    assert room.left == SeriesRoom().left


def test_a_tenant_that_lost_its_place_has_no_costs_there_either() -> None:
    totals = RequestTotals(SeriesRoom())
    for number in range(SHOWN_TENANTS):
        totals.add(costly(f"t{number}"), EDGES_S, now_s=0.0)
    totals.add(replace(costly("busy"), buckets=(9, 0, 0)), EDGES_S, now_s=0.0)
    totals.tidy({("digits", "1")}, now_s=0.0)
    assert {kind.tenant for kind in totals.charged} == {kind.tenant for kind in totals.requests}


def test_costs_that_find_no_room_are_refused() -> None:
    room = SeriesRoom(most=8)  # one kind, one histogram of two edges, and two of the three that a cost needs
    totals = RequestTotals(room)
    totals.add(costly(), EDGES_S, now_s=0.0)
    assert (totals.charged, room.refused) == ({}, 1)
