"""Puts together what is seen of a rollout: ready pods, what requests cost, and how fast its own slots burn a budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil

from gateway.control.messages import SLOT_S
from gateway.control.pod_table import PodRecord
from gateway.control.slo_counts import SloCounts
from gateway.decide.rollouts.verdict import BurnSeen
from model_pod.wire.status import PodState
from policies.snapshot.release import Canary
from policies.snapshot.slos import Objective
from telemetry.slo.budget import ENOUGH_BAD_EVENTS
from telemetry.slo.burn_rate import budget_share, burn_rate


def ready_pods(pods: Iterable[PodRecord], model: str, version: str) -> int:
    """Return how many pods of a version are ready now."""
    return sum(
        record.state is PodState.READY and (record.place.model, record.place.version) == (model, version)
        for record in pods
    )


def smallest_budget(objectives: Iterable[Objective]) -> float | None:
    """Return the share of requests that may be bad by the strictest objective; None without one."""
    of_requests = (one for one in objectives if one.events == "requests")
    return min((float(budget_share(one.target)) for one in of_requests), default=None)


def burn_seen(
    objectives: Sequence[Objective], counts: SloCounts, of: tuple[str, Canary], watched_s: float, now_s: float
) -> BurnSeen | None:
    """Return how fast a canary's requests burn the budget that they burn fastest; None where none is told apart.

    So many bad ones are enough as make an objective's budget worth reading: a version that burns its budget as fast as
    it may has them among so few requests in one of 100,000 cases.

    Args:
        of: the model and its canary.
        watched_s: what was before is not held against it, nor what was in the same slot as its beginning.
    """
    model, canary = of
    first_slot_s = ceil((now_s - watched_s) / SLOT_S) * SLOT_S
    window_s = min(canary.judge.burn_over_s, now_s - first_slot_s)
    seen = []
    for one in objectives:
        if "version" in one.by and window_s > 0.0:
            events = counts.of_version(one.name, model, canary.version).count(window_s, now_s)
            is_enough = events.bad >= max(ENOUGH_BAD_EVENTS, one.guards.min_bad_events)
            is_enough = is_enough and events.total >= one.guards.min_events
            rate, above = burn_rate(events, one.target), canary.judge.burn_above
            seen.append(BurnSeen(one.name, rate, window_s, events.total, is_enough, above))
    # One of which enough is known comes before one that burns faster by few requests.
    return max(seen, key=lambda burn: (burn.is_enough, burn.rate), default=None)
