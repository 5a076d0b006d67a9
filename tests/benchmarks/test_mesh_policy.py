"""The policies of the benchmark are policies that load."""

from __future__ import annotations

import hashlib
from pathlib import Path

from policies.load import load_directory
from tests.benchmarks.large_policy import key_of, tenant_name
from tests.benchmarks.mesh_policy import MOST_JUDGED, MeshPolicy, write_policies


def test_every_tenant_has_its_key_a_rate_and_a_bound_and_every_route_its_pods(tmp_path: Path) -> None:
    pods = ["unix:/run/one.sock", "127.0.0.1:9000"]
    write_policies(tmp_path, MeshPolicy({"stub": pods, "other": pods[:1]}, 3, "tracing: {kept_per_s: 7}\n"))
    snapshot = load_directory(tmp_path)
    assert {route.model: route.versions["1"].static for route in snapshot.routes.values()}.keys() == {"stub", "other"}
    static = snapshot.routes["stub"].versions["1"].static
    assert static is not None
    assert list(static.addresses) == pods
    assert [snapshot.tenants[tenant_name(number)].keys[0].sha256 for number in range(3)] == [
        hashlib.sha256(key_of(number).encode()).hexdigest() for number in range(3)
    ]
    limit = snapshot.tiers["bench"].limit
    assert limit is not None
    assert limit.in_flight
    assert limit.rate_per_s
    assert len(snapshot.objectives) == 4
    assert snapshot.mesh.tracing.kept_per_s == 7


def test_more_routes_than_can_have_objectives_load_all_the_same(tmp_path: Path) -> None:
    routes = {f"model-{number:04}": ["unix:/run/one.sock"] for number in range(MOST_JUDGED + 2)}
    write_policies(tmp_path, MeshPolicy(routes))
    snapshot = load_directory(tmp_path)
    assert len(snapshot.routes) == MOST_JUDGED + 2
    assert len(snapshot.objectives) == 2 * MOST_JUDGED
