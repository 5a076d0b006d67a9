"""Waits are counted by model and tier, in a bounded number of them."""

from __future__ import annotations

from gateway.control.messages import MAX_WAITS, WAIT_EDGES_S
from gateway.dataplane.waited import Waited


def test_a_wait_is_in_the_first_bucket_that_is_long_enough() -> None:
    waited = Waited()
    for waited_s in (0.0, WAIT_EDGES_S[0], WAIT_EDGES_S[1], 1e9):
        waited.add("digits", "gold", waited_s)
    (told,) = waited.told()
    assert (told.model, told.tier, told.sum_s) == ("digits", "gold", sum((WAIT_EDGES_S[0], WAIT_EDGES_S[1], 1e9)))
    assert (told.buckets[0], told.buckets[1], told.buckets[-1], sum(told.buckets)) == (2, 1, 1, 4)


def test_more_models_and_tiers_than_are_told_apart_are_others() -> None:
    waited = Waited()
    for number in range(MAX_WAITS + 5):
        waited.add(f"model-{number}", "gold", 1.0)
    told = waited.told()
    assert len(told) == MAX_WAITS + 1
    assert (told[-1].model, told[-1].tier, sum(told[-1].buckets)) == ("other", "other", 5)
