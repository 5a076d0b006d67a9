"""Snapshot: one whole, validated, numbered generation of policy."""

from msgspec import Struct, field

from policies.snapshot.limits import SharedLimit, Tier
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Route
from policies.snapshot.slos import Objective
from policies.snapshot.tenant import Tenant
from policies.snapshot.tests import PolicyTest
from policies.snapshot.watching import Drift


class Snapshot(Struct, frozen=True):
    """One policy directory as the gateway uses it; the supervisor numbers it and replaces it whole."""

    generation: int
    digest: str
    mesh: Mesh
    tiers: dict[str, Tier] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    objectives: dict[str, Objective] = field(default_factory=dict)
    shared: tuple[SharedLimit, ...] = ()
    tests: tuple[PolicyTest, ...] = ()


def objectives_by_model(snapshot: Snapshot) -> dict[str, tuple[Objective, ...]]:
    """Return the objectives of every model that has some, in the order in which its route names them."""
    return {
        route.model: tuple(snapshot.objectives[name] for name in route.slo)
        for route in snapshot.routes.values()
        if route.slo
    }


def drift_by_model(snapshot: Snapshot) -> dict[str, Drift]:
    """Return how the inputs and outputs of each model are watched; models that are not are left out."""
    return {route.model: route.drift for route in snapshot.routes.values() if route.drift is not None}
