"""Tables: one policy generation, indexed for decisions; built once per generation and worker."""

from __future__ import annotations

from msgspec import Struct

from policies.snapshot import (
    EVERY_MODEL,
    Bounds,
    Key,
    Objective,
    Route,
    Snapshot,
    Tenant,
    Tier,
    Tracing,
    objectives_by_model,
)


class Caller(Struct, frozen=True):
    """Who a key stands for, and what its tenant may do."""

    tenant: Tenant
    key: Key
    tier: Tier
    key_digest: bytes
    models: frozenset[str]
    rate_limit: str

    def may_call(self, model: str) -> bool:
        """Whether policy lets this tenant call the model; a model nobody named is refused."""
        return model in self.models or EVERY_MODEL in self.models


class Tables:
    """Lookups by what a request carries.

    Attributes:
        generation: number of the policy generation.
        callers: by the SHA-256 of an API key.
        routes: by model.
        objectives: by model, of those that have any.
        bounds: ceilings for every request.
        tracing: which requests leave a trace.
    """

    __slots__ = ("bounds", "callers", "generation", "objectives", "routes", "tracing")

    def __init__(self, snapshot: Snapshot) -> None:
        self.generation = snapshot.generation
        self.routes: dict[str, Route] = snapshot.routes
        self.objectives: dict[str, tuple[Objective, ...]] = objectives_by_model(snapshot)
        self.bounds: Bounds = snapshot.mesh.bounds
        self.tracing: Tracing = snapshot.mesh.tracing
        self.callers: dict[bytes, Caller] = {}
        for tenant in snapshot.tenants.values():
            tier = snapshot.tiers[tenant.tier]
            models = frozenset(tenant.may_call)
            for key in tenant.keys:
                digest = bytes.fromhex(key.sha256)
                self.callers[digest] = Caller(tenant, key, tier, digest, models, f"tenant/{tenant.name}/rate")
