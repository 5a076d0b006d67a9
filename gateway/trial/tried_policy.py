"""A policy as it is tried: the files' own, and the key that `penstock up` adds, which recorded requests may have."""

from __future__ import annotations

from gateway.decide.tables import Tables
from policies.local_key import with_local_key
from policies.snapshot.generation import Snapshot

# Nobody is identified by it: a trial takes a record's word for whose request it was.
_NO_DIGEST = "0" * 64


def tried(snapshot: Snapshot) -> Snapshot:
    """Return the policy with a local key."""
    return with_local_key(snapshot, _NO_DIGEST)


def tried_tables(snapshot: Snapshot) -> Tables:
    """Return the tables of the policy with a local key."""
    return Tables(tried(snapshot))
