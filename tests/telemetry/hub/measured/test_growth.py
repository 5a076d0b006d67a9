"""Counters over restarts, edges that change and silences: what grew is never below nothing, and adds up exactly."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.measured.growth import Grown, Histogram, Key, Reading, growth, names, reading
from telemetry.hub.measured.samples import Exemplar, Sample

KEY = ("h", "m")
EDGES = (0.1, 1.0, math.inf)


def counted(at_s: float, epoch: str, *taken: float, edges: tuple[float, ...] = EDGES, **counters: float) -> Reading:
    """Return the reading of a process that has counted these events."""
    up_to = {edge: sum(one <= edge for one in taken) for edge in edges}
    held: dict[Key, float] = {("c", name): value for name, value in counters.items()}
    return Reading(at_s, epoch, held, {KEY: Histogram(up_to, math.fsum(taken))})


def test_growth_is_the_difference_by_bucket() -> None:
    grown = growth(counted(0, "a", 0.05, a=3), counted(10, "a", 0.05, 0.5, 0.6, 7.0, a=5, b=2))
    assert grown.counters == {("c", "a"): 2, ("c", "b"): 2}
    assert grown.histograms[KEY].buckets == ((0.1, 1.0, 2), (1.0, math.inf, 1))
    assert math.isclose(grown.histograms[KEY].total, 8.1)


def test_without_a_reading_before_everything_has_happened_since() -> None:
    assert growth(None, counted(10, "a", 0.5, a=3)).histograms[KEY].count == 1


def test_another_process_counts_from_nothing_though_it_counted_further() -> None:
    grown = growth(counted(0, "a", 0.5, a=3), counted(10, "b", 0.05, 0.5, a=9))
    assert grown.counters == {("c", "a"): 9}
    assert grown.histograms[KEY].buckets == ((0.0, 0.1, 1), (0.1, 1.0, 1))


def test_a_count_that_went_down_began_anew_without_a_word() -> None:
    grown = growth(counted(0, "a", 0.05, 0.5, 0.6, a=3), counted(10, "a", 0.5, a=1))
    assert grown.counters == {("c", "a"): 1}
    assert grown.histograms[KEY].buckets == ((0.1, 1.0, 1),)


def test_edges_that_come_and_go_lose_no_event() -> None:
    grown = growth(counted(0, "a", 0.05), counted(10, "a", 0.05, 0.3, 0.7, edges=(0.5, 1.0, math.inf)))
    assert grown.histograms[KEY].buckets == ((0.0, 1.0, 2),)


def test_only_exemplars_that_are_new_are_told() -> None:
    shown = tuple(Exemplar(name, 0.5, at_s) for name, at_s in (("old", 4.0), ("new", 14.0)))
    now = Reading(20.0, "a", {}, {KEY: Histogram(dict.fromkeys(EDGES, 1), 0.5, shown)})
    before = Reading(10.0, "a", {}, {})
    assert [one.trace_id for one in growth(before, now).histograms[KEY].exemplars] == ["new"]


def test_a_number_that_no_count_can_be_is_passed_over() -> None:
    found = [Sample("c", {}, 1e30), Sample("h_bucket", {"le": "+Inf"}, 1e30), Sample("d", {}, 2.0**53)]
    now = reading(found, {"c": (), "d": ()}, {"h": ()}, 0.0, "a")
    assert (now.counters, now.histograms) == ({("d",): 2.0**53}, {})


def test_what_is_no_count_is_passed_over() -> None:
    wanted = names(["c_total"], ["h"])
    assert wanted == {"c_total", "h_bucket", "h_sum", "h_count"}
    found = [
        Sample("c_total", {"x": "1"}, math.nan),
        Sample("c_total", {"x": "2"}, -1.0),
        Sample("c_total", {"x": "3"}, 4.0),
        Sample("h_bucket", {"le": "wide"}, 1.0),
        Sample("h_bucket", {"le": "0.5"}, 1.0),  # without an infinite one this is no histogram
    ]
    read = reading(found, {"c_total": ("x",)}, {"h": ()}, 1.0, "a")
    assert (read.counters, read.histograms) == ({("c_total", "3"): 4.0}, {})


step = st.tuples(st.lists(st.sampled_from([0.05, 0.1, 0.5, 3.0]), max_size=5), st.booleans(), st.booleans())


@given(st.lists(step, max_size=12))
def test_over_any_restarts_and_silences_what_grew_adds_up_to_what_was_counted(steps: list) -> None:  # type: ignore[type-arg]
    """What a process counted after it was read last and before it ended is the only thing that is lost."""
    before: Reading | None = None
    life, held, unread = 0, list[float](), 0
    total, lost, seen = 0, 0, Counter[float]()
    for at, (taken, restarts, is_read) in enumerate(steps):
        if restarts:
            lost += unread
            life, held, unread = life + 1, [], 0
        held += taken
        unread += len(taken)
        total += len(taken)
        if is_read:
            now = counted(float(at), str(life), *held, n=len(held))
            grown = growth(before, now)
            found = grown.histograms.get(KEY, Grown((), 0.0))
            assert all(count > 0 for _, _, count in found.buckets)
            assert found.total >= 0
            assert sum(grown.counters.values()) == found.count
            seen.update({upper: count for _, upper, count in found.buckets})
            before, unread = now, 0
    assert seen.total() == total - lost - unread
