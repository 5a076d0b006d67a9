"""Sign-in at the management API: who calls, by the admin token, an API key, a token or a client certificate."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.control.callers import AdminCaller, token_digest
from gateway.decide.authorization import LOCAL, Actor, group_subjects, roles_of
from gateway.decide.bad_keys import BadKeys
from gateway.decide.decision import Refusal
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import Key

if TYPE_CHECKING:
    from gateway.decide.tokens import Trusted

_UNKNOWN = "This is no credential of this mesh."


class SignIn:
    """Says who calls, by the generation in force.

    Args:
        admin_token: of the state directory; it may do everything.
        in_force: the generation in force.
        revoked: ids of credentials that are refused whatever the files say.
        trusted: issuers whose keys are known; of these only the ones of the generation in force count, and while
            there are none, what verifies tokens is not imported.
    """

    def __init__(
        self,
        admin_token: str,
        in_force: Callable[[], Snapshot],
        revoked: Callable[[], frozenset[str]] = frozenset,
        trusted: Callable[[], Sequence[Trusted]] = tuple,
    ) -> None:
        self._digest = token_digest(admin_token)
        self._in_force = in_force
        self._revoked = revoked
        self._trusted = trusted
        self._bad_keys = BadKeys()
        self._keys_of = ""
        self._keys: dict[str, Key] = {}

    def actor(self, caller: AdminCaller) -> Actor:
        """Return who calls; whoever shows too many wrong credentials is told to wait, and a good one always passes.

        Raises:
            Refused: key_missing, key_unknown, key_not_valid_now, key_revoked, token_refused or too_many_bad_keys.
        """
        try:
            return self._known(caller)
        except Refused as refused:
            refusal = Refusal(refused.reason, refused.message)
            told = self._bad_keys.back_off(refusal, caller.source, time.monotonic())
            if told is refusal:
                raise
            raise Refused(told.reason, told.message) from refused

    def _known(self, caller: AdminCaller) -> Actor:
        shown = caller.values("authorization")
        if shown:
            return self._by_bearer(_bearer(shown))
        if caller.peer_identity:
            id_ = f"san:{caller.peer_identity}"
            return self._actor(id_, (id_,))
        raise Refused("key_missing", "Send the admin token or an API key as `Authorization: Bearer TOKEN`.")

    def _by_bearer(self, credential: str) -> Actor:
        digest = token_digest(credential)
        if hmac.compare_digest(digest, self._digest):
            return LOCAL
        trusted = self._trusted_now()
        if trusted and credential.startswith("eyJ") and "." in credential:
            return self._by_token(credential, trusted)
        key = self._known_keys().get(digest.hex())
        if key is None:
            raise Refused("key_unknown", _UNKNOWN)
        now_s = time.time()
        if key.not_before_s is not None and now_s < key.not_before_s:
            raise Refused("key_not_valid_now", f"The API key {key.id} is not valid yet.")
        if key.not_after_s is not None and now_s >= key.not_after_s:
            raise Refused("key_not_valid_now", f"The API key {key.id} has expired; use its successor.")
        return self._actor(key.id, (f"key:{key.id}",))

    def _by_token(self, token: str, trusted: Sequence[Trusted]) -> Actor:
        from gateway.decide.tokens import REFUSED, TokenRefused, verify

        try:
            shown = verify(token.encode(), trusted, time.time())
        except TokenRefused as refused:
            raise Refused("token_refused", f"{REFUSED[0].upper()}{REFUSED[1:]}.") from refused
        is_only = len(self._in_force().mesh.jwt) == 1
        return self._actor(f"jwt:{shown.issuer}:{shown.subject}", group_subjects(shown.issuer, shown.groups, is_only))

    def _trusted_now(self) -> list[Trusted]:
        """Keys are kept of issuers that are to come and of ones as they were; their tokens prove nothing here."""
        issuers = self._in_force().mesh.jwt
        return [one for one in self._trusted() if one.issuer in issuers]

    def _actor(self, credential_id: str, subjects: Sequence[str]) -> Actor:
        if credential_id in self._revoked():
            raise Refused("key_revoked", f"The credential {credential_id} was revoked; use its successor.")
        kind = "" if credential_id.startswith(("jwt:", "san:")) else "key:"
        return Actor(f"{kind}{credential_id}", roles_of(self._in_force().mesh.roles, subjects))

    def _known_keys(self) -> dict[str, Key]:
        """Return all keys of the generation in force by what they are known by."""
        snapshot = self._in_force()
        if snapshot.digest != self._keys_of:
            self._keys = {key.sha256: key for tenant in snapshot.tenants.values() for key in tenant.keys}
            self._keys_of = snapshot.digest
        return self._keys


def _bearer(shown: Sequence[str]) -> str:
    scheme, _, credential = shown[0].partition(" ")
    if len(shown) != 1 or scheme.lower() != "bearer" or not credential.strip():
        raise Refused("key_unknown", _UNKNOWN)
    return credential.strip()
