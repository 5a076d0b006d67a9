"""A small policy for the gateway's tests."""

from __future__ import annotations

import hashlib
import os

from gateway.limits.table import head_of, table_bytes
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, Tier, default_burst
from policies.snapshot.mesh import Bounds, Mesh, Tracing
from policies.snapshot.route import Route, Static, Version
from policies.snapshot.slos import Objective
from policies.snapshot.tenant import Key, Quota, Tenant

KEY = "msk_test"
PLAIN_KEY = "msk_without_pin"
STRANGER_KEY = "msk_of_nobody"
EXPIRED_KEY = "msk_expired"
COLUMNS = 8


def key(text: str, *scopes: str, not_after_s: float | None = None, not_before_s: float | None = None) -> Key:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Key(f"id-{text}", digest, scopes, not_before_s, not_after_s)


def policy(
    *,
    generation: int = 1,
    rate_per_s: float | None = None,
    burst: int | None = None,
    deadline_s: float | None = None,
    bounds: Bounds | None = None,
    timeout_s: float | None = None,
    body_bytes: int | None = None,
    in_flight: int = 100,
    objectives: tuple[Objective, ...] = (),
    tracing: Tracing | None = None,
    limit: Limit | None = None,
    quotas: tuple[Quota, ...] = (),
) -> Snapshot:
    """One tenant that may call ``digits`` (versions 1, stable, and 2), and a model it may not call."""
    keys = (
        key(KEY, "infer", "pin", "explain"),
        key(PLAIN_KEY, "infer"),
        key(EXPIRED_KEY, "infer", not_after_s=1000.0),
    )
    versions = {name: Version(name, static=Static(("unix:/none",)), in_flight=in_flight) for name in ("1", "2")}
    return Snapshot(
        generation=generation,
        digest="d" * 64,
        mesh=Mesh("test", bounds=bounds or Bounds(), tracing=tracing or Tracing()),
        tiers={"gold": Tier("gold", limit or rate_limit(rate_per_s, burst), deadline_s)},
        tenants={"ads": Tenant("ads", "ads-team", "gold", keys, ("digits",), quotas=quotas)},
        routes={
            "digits": Route(
                "digits",
                "vision",
                versions,
                "1",
                timeout_s,
                body_bytes,
                slo=tuple(objective.name for objective in objectives),
            ),
            "secret": Route("secret", "vision", versions, "1"),
        },
        objectives={objective.name: objective for objective in objectives},
    )


def rate_limit(rate_per_s: float | None, burst: int | None = None) -> Limit | None:
    return None if rate_per_s is None else Limit("tier/gold", rate_per_s, burst or default_burst(rate_per_s))


def limits_memory() -> int:
    """Return the descriptor of a fresh limits table."""
    descriptor = os.memfd_create("limits")
    os.ftruncate(descriptor, table_bytes(COLUMNS))
    os.pwrite(descriptor, head_of(bytes(16), COLUMNS, is_cautious=False, born_s=0.0), 0)
    return descriptor
