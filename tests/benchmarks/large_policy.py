"""A policy of thousands of tenants and models, for measurements."""

from __future__ import annotations

import hashlib

from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, Tier
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Route, Static, Version
from policies.snapshot.tenant import Key, LadderStep, Quota, Tenant

LADDER = (LadderStep(0.8, "warn"), LadderStep(1.0, "refuse"))


def tenant_name(number: int) -> str:
    """Return the name of a tenant."""
    return f"tenant-{number:05}"


def model_name(number: int) -> str:
    """Return the name of a model."""
    return f"model-{number:04}"


def key_of(number: int) -> str:
    """Return the API key of a tenant."""
    return f"msk_{number:043}"


def large_policy(
    tenant_count: int, route_count: int, rate_per_s: float = 300.0, requests_per_day: int = 10**9
) -> Snapshot:
    """Return a policy whose tenants each have a rate, a bound on requests in flight, and a quota."""
    tenants = {tenant_name(number): _tenant(number, requests_per_day) for number in range(tenant_count)}
    versions = {"1": Version("1", static=Static(("unix:/none",)))}
    routes = {model_name(number): Route(model_name(number), "team", versions, "1") for number in range(route_count)}
    return Snapshot(
        generation=1,
        digest="d" * 64,
        mesh=Mesh("large"),
        tiers={"gold": Tier("gold", Limit("tier/gold", rate_per_s, round(rate_per_s), in_flight=64))},
        tenants=tenants,
        routes=routes,
    )


def _tenant(number: int, requests_per_day: int) -> Tenant:
    key = Key(f"key-{number}", hashlib.sha256(key_of(number).encode()).hexdigest(), ("infer",))
    quota = Quota("requests-day", "requests", requests_per_day, "calendar-day", ladder=LADDER)
    return Tenant(tenant_name(number), "team", "gold", (key,), ("*",), quotas=(quota,))
