"""The key for the person at the keyboard goes to the demo tenant, else to the first one."""

from policies.local_key import with_local_key
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.tenant import Key, Tenant

DIGEST = "0" * 64
LOCAL = Key("local", DIGEST, ("infer", "explain", "pin"))


def snapshot_with(*names: str) -> Snapshot:
    tenants = {name: Tenant(name, "us", "demo", (Key("own", "1" * 64, ("infer",)),), ()) for name in names}
    return Snapshot(7, "digest of the files", Mesh("m"), {}, tenants, {})


def test_the_demo_tenant_gets_the_key_beside_its_own() -> None:
    after = with_local_key(snapshot_with("ads", "demo"), DIGEST)
    assert [key.id for key in after.tenants["demo"].keys] == ["own", "local"]
    assert after.tenants["demo"].keys[1] == LOCAL
    assert after.tenants["ads"] == snapshot_with("ads").tenants["ads"]
    assert (after.generation, after.digest) == (7, "digest of the files")


def test_without_a_demo_tenant_the_first_by_name_gets_it() -> None:
    assert LOCAL in with_local_key(snapshot_with("b", "a"), DIGEST).tenants["a"].keys


def test_a_named_tenant_gets_it() -> None:
    assert LOCAL in with_local_key(snapshot_with("demo", "b"), DIGEST, tenant="b").tenants["b"].keys


def test_without_a_tenant_nothing_changes() -> None:
    assert with_local_key(snapshot_with(), DIGEST) == snapshot_with()
    assert with_local_key(snapshot_with("a"), DIGEST, tenant="absent") == snapshot_with("a")


def test_giving_it_again_replaces_it() -> None:
    once = with_local_key(snapshot_with("demo"), "2" * 64)
    assert with_local_key(once, DIGEST) == with_local_key(snapshot_with("demo"), DIGEST)
