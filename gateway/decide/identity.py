"""Identity: whose request this is, from its API key alone; headers that claim an identity are never read."""

from __future__ import annotations

import hashlib
import hmac

from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Caller, Tables
from model_pod.wire.refusals import Refused
from policies.snapshot import Key

_SCHEME = "bearer "
_MAX_KEY_CHARS = 512
_NOBODY = bytes(32)


def identify(tables: Tables, facts: RequestFacts) -> Caller:
    """Return who calls.

    The key is hashed before any lookup, so neither the table nor the time it takes tells anything about other keys.

    Raises:
        Refused: key_missing, key_unknown or key_not_valid_now.
    """
    scheme, key = facts.authorization[: len(_SCHEME)], facts.authorization[len(_SCHEME) :]
    if scheme.lower() != _SCHEME or not key:
        raise Refused("key_missing", "this mesh needs an API key: send `Authorization: Bearer KEY`")
    digest = hashlib.sha256(key[:_MAX_KEY_CHARS].encode("latin-1", "replace")).digest()
    caller = tables.callers.get(digest)
    known = caller.key_digest if caller else _NOBODY
    if not hmac.compare_digest(digest, known) or caller is None or len(key) > _MAX_KEY_CHARS:
        raise Refused("key_unknown", "the API key is not known here; check it for typos, or ask for a new one")
    _check_dates(caller.key, facts.wall_s)
    return caller


def _check_dates(key: Key, wall_s: float) -> None:
    if key.not_before_s is not None and wall_s < key.not_before_s:
        raise Refused("key_not_valid_now", f"the API key {key.id} is not valid yet")
    if key.not_after_s is not None and wall_s >= key.not_after_s:
        raise Refused("key_not_valid_now", f"the API key {key.id} has expired; use its successor")
