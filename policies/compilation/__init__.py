"""Turns files as written into a Snapshot: units become seconds and bytes, what is left out gets its usual value."""

import hashlib
from collections.abc import Iterable

import msgspec

from policies.compilation.limits import shared_limit_of, tier_of
from policies.compilation.mesh import mesh_of
from policies.compilation.objective import objective_of
from policies.compilation.release import sticky_claims
from policies.compilation.route import route_of
from policies.compilation.tenant import tenant_of
from policies.schema.limits import LimitsFile
from policies.schema.mesh import MeshFile
from policies.schema.route import RouteFile
from policies.schema.slos import SlosFile
from policies.schema.tenant import TenantFile
from policies.snapshot.generation import Snapshot
from policies.snapshot.tests import PolicyTest


def compile_snapshot(
    mesh: MeshFile,
    limits: LimitsFile | None,
    tenants: Iterable[TenantFile],
    routes: Iterable[RouteFile],
    slos: SlosFile | None = None,
    tests: Iterable[PolicyTest] = (),
) -> Snapshot:
    """The snapshot of files that have been checked; its generation is 0 until somebody numbers it."""
    tiers = limits.tiers if limits else {}
    objectives = slos.slos if slos else []
    compiled = {route.model: route_of(route) for route in sorted(routes, key=lambda route: route.model)}
    unsigned = Snapshot(
        generation=0,
        digest="",
        mesh=mesh_of(mesh, sticky_claims(compiled.values())),
        tiers={name: tier_of(name, tier) for name, tier in sorted(tiers.items())},
        tenants={tenant.name: tenant_of(tenant) for tenant in sorted(tenants, key=lambda tenant: tenant.name)},
        routes=compiled,
        objectives={slo.name: objective_of(slo) for slo in sorted(objectives, key=lambda slo: slo.name)},
        shared=tuple(filter(None, map(shared_limit_of, (limits and limits.shared) or ()))),
        tests=tuple(tests),
    )
    return msgspec.structs.replace(unsigned, digest=digest_of(unsigned))


def digest_of(snapshot: Snapshot) -> str:
    """SHA-256 of what a snapshot decides, whatever its number: equal for files that mean the same.

    Tests are left out: they decide nothing, and to edit one makes no new generation.
    """
    content = msgspec.structs.replace(snapshot, generation=0, digest="", tests=())
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
