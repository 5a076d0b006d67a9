"""The key that `penstock up` makes for the person at the keyboard: it is in no file."""

from typing import Final

import msgspec

from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import KNOWN_SCOPES, Key

LOCAL_KEY_ID: Final = "local"
PREFERRED_TENANT: Final = "demo"


def with_local_key(snapshot: Snapshot, sha256: str, tenant: str | None = None) -> Snapshot:
    """The same policy with one more key, of tenant `demo` if there is one, else of the first tenant by name.

    The digest stays that of the files. Without tenants, or without the named one, nothing changes.
    """
    wanted = tenant or (PREFERRED_TENANT if PREFERRED_TENANT in snapshot.tenants else min(snapshot.tenants, default=""))
    if wanted not in snapshot.tenants:
        return snapshot
    owner = snapshot.tenants[wanted]
    others = tuple(key for key in owner.keys if key.id != LOCAL_KEY_ID)
    local = Key(id=LOCAL_KEY_ID, sha256=sha256, scopes=KNOWN_SCOPES)
    with_key = msgspec.structs.replace(owner, keys=(*others, local))
    return msgspec.structs.replace(snapshot, tenants={**snapshot.tenants, wanted: with_key})
