"""Repository: the Open Inference Protocol's index of models: those that a caller may call, and their states."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from gateway.control.messages import PodView
from gateway.decide.decision import Decision
from gateway.decide.tables import Tables
from model_pod.wire.status import PodState
from policies.snapshot.route import Route
from policies.snapshot.tenant import EVERY_MODEL

READY = "READY"
_STATES = {
    PodState.READY: READY,
    PodState.STARTING: "LOADING",
    PodState.RESTARTING: "LOADING",
    PodState.DRAINING: "UNLOADING",
}
_UNAVAILABLE = "UNAVAILABLE"
# What one of several pods can do, the version can.
_BEST_FIRST = (PodState.READY, PodState.RESTARTING, PodState.STARTING, PodState.DRAINING, PodState.FAILED)

PodsOf = Callable[[str, str], Sequence[PodView]]


class Indexed(Struct, frozen=True):
    """One version of a model.

    Attributes:
        state: READY, LOADING, UNLOADING or UNAVAILABLE, as the protocol names them.
        reason: why it is not ready, as far as its pods say.
    """

    name: str
    version: str
    state: str
    reason: str


def repository_index(tables: Tables, decision: Decision, pods_of: PodsOf, *, only_ready: bool) -> list[Indexed]:
    """Return what a caller may call: the stable version of each model, and every other if it may ask for one.

    Args:
        decision: says who it is.
    """
    tenant = tables.tenants[decision.tenant]
    may_call = tables.routes.keys() if EVERY_MODEL in tenant.may_call else tenant.may_call
    found = [
        _indexed(route.model, version, pods_of(route.model, version))
        for route in tables.routes.values()
        if route.model in may_call
        for version in _versions(route, decision)
    ]
    return [one for one in found if one.state == READY or not only_ready]


def _versions(route: Route, decision: Decision) -> Iterator[str]:
    yield route.stable
    if "pin" in decision.scopes:
        yield from (version for version in route.versions if version != route.stable)


def _indexed(model: str, version: str, pods: Sequence[PodView]) -> Indexed:
    if not pods:
        return Indexed(model, version, _UNAVAILABLE, "it has no pod")
    best = min(pods, key=lambda pod: _BEST_FIRST.index(pod.state))
    state = _STATES.get(best.state, _UNAVAILABLE)
    return Indexed(model, version, state, "" if state == READY else best.message)
