"""Losses add up, and a recorder's running totals are counted once."""

from __future__ import annotations

from msgspec.structs import replace

from telemetry.conventions import TELEMETRY_DROPPED
from telemetry.sidecar.drops import OTHER, SOURCES, WHYS, Drops
from tests.telemetry.sidecar.recording import GATEWAY, frame


def lost(drops: Drops) -> dict[tuple[str, ...], object]:
    samples = list(drops.samples())
    assert {sample.metric for sample in samples} <= {TELEMETRY_DROPPED}
    return {sample.labels: sample.value for sample in samples}


def test_what_a_recorder_lost_is_counted_by_what_is_new_of_it() -> None:
    drops = Drops()
    drops.heed(frame(GATEWAY, dropped={"ring_full": 3}))
    drops.heed(frame(GATEWAY, dropped={"ring_full": 5, "too_large": 1}))
    drops.heed(frame(replace(GATEWAY, pid=7), dropped={"ring_full": 2}))
    assert lost(drops) == {("records", "ring_full"): 7.0, ("records", "too_large"): 1.0}


def test_a_total_that_went_back_is_of_a_new_process() -> None:
    drops = Drops()
    drops.heed(frame(GATEWAY, dropped={"ring_full": 5}))
    drops.heed(frame(GATEWAY, dropped={"ring_full": 2}))
    assert lost(drops) == {("records", "ring_full"): 7.0}


def test_recorders_and_reasons_are_bounded() -> None:
    drops = Drops()
    for pid in range(SOURCES + 10):
        drops.heed(frame(replace(GATEWAY, pid=pid), dropped={f"why {pid}": 1}))
    counted = lost(drops)
    assert len(counted) == WHYS + 1
    assert sum(value for value in counted.values() if isinstance(value, float)) == SOURCES + 10
    assert ("records", OTHER) in counted
    assert len(vars(drops)["_told"]) == SOURCES


def test_what_was_lost_here_is_beside_it() -> None:
    drops = Drops()
    drops.add("spans", "queue_full", 512)
    drops.add("spans", "queue_full")
    assert lost(drops) == {("spans", "queue_full"): 513.0}
