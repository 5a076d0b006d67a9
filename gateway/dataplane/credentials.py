"""Credentials: what one worker's callers show, read from a request's head, and verified as far as no tenant matters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.control.messages import UnknownKid
from gateway.decide.api_keys import MAX_KEY_CHARS, digest_of
from gateway.decide.bad_keys import BadKeys
from gateway.decide.credentials import CertificateShown, Credential, KeyShown, NoCredential
from gateway.decide.decision import Refusal
from model_pod.wire.http1 import RequestHead
from policies.snapshot.mesh import JwtIssuer

if TYPE_CHECKING:
    from gateway.dataplane.token_desk import TokenDesk

_SCHEME = b"bearer "
_MISSING = NoCredential(
    # In lower case, since gRPC's libraries refuse metadata in any other.
    "key_missing",
    "this mesh needs an API key: send `authorization: Bearer KEY`, over gRPC as metadata",
)
_SEVERAL = NoCredential("key_unknown", "send one credential: the request has several Authorization fields")
_TOO_LONG = NoCredential("key_unknown", "the API key is not known here; check it for typos, or ask for a new one")


class Peer(Struct, frozen=True):
    """Who is at the other end of a connection.

    Attributes:
        address: its IP address, "" when the socket has none.
        identity: what a verified client certificate calls it; "" without one.
    """

    address: str = ""
    identity: str = ""


NO_PEER = Peer()


class Credentials:
    """What one worker knows of credentials beside policy: issuers' keys, and who shows wrong ones.

    Attributes:
        on_unknown_kid: tells the supervisor that a token names a key which its issuer is not known to have.
    """

    def __init__(self, issuers: Sequence[JwtIssuer]) -> None:
        self.on_unknown_kid: Callable[[UnknownKid], None] = lambda _: None
        self._bad_keys = BadKeys()
        self._jwks: dict[str, bytes] = {}
        self._tokens: TokenDesk | None = None
        self.use(issuers)

    def use(self, issuers: Sequence[JwtIssuer]) -> None:
        """Accept tokens of these issuers from now on, and of no others."""
        if self._tokens is None and issuers:
            self._tokens = _token_desk(lambda issuer: self.on_unknown_kid(UnknownKid(issuer)))
        if self._tokens is not None:
            self._tokens.use(issuers, self._jwks)

    def put_keys(self, issuer: str, jwks: bytes) -> None:
        """Verify tokens of the issuer of that name with these keys; b"" takes its keys away."""
        self._jwks[issuer] = jwks
        if self._tokens is not None:
            self._tokens.put_keys(issuer, jwks)

    def read(self, request: RequestHead, peer: Peer, wall_s: float, now_s: float) -> Credential:
        """Return what the request shows; an Authorization field goes before a client certificate."""
        value = request.get(b"authorization")
        if value is None:
            return CertificateShown(peer.identity) if peer.identity else _MISSING
        if len(request.values) != len(request.fields) and _repeats_authorization(request):
            return _SEVERAL
        scheme, credential = value[: len(_SCHEME)], value[len(_SCHEME) :]
        if scheme.lower() != _SCHEME or not credential:
            return _MISSING
        if self._tokens is not None and self._tokens.is_for(credential):
            return self._tokens.read(credential, wall_s, now_s)
        if len(credential) > MAX_KEY_CHARS:
            return _TOO_LONG
        return KeyShown(digest_of(credential))

    def back_off(self, refusal: Refusal, peer: Peer, now_s: float) -> Refusal:
        """Return the refusal, or one that tells an address to wait which has shown too many wrong credentials.

        Only what is refused comes here: a good credential passes, whatever its address has shown before.
        """
        return self._bad_keys.back_off(refusal, peer.address, now_s)


def _repeats_authorization(request: RequestHead) -> bool:
    return sum(name.lower() == b"authorization" for name, _ in request.fields) > 1


def _token_desk(on_unknown_kid: Callable[[str], None]) -> TokenDesk:
    """Import what verifies tokens and make it: 50 ms and 10 MB, which a mesh without issuers need not spend."""
    from gateway.dataplane.token_desk import TokenDesk

    return TokenDesk(on_unknown_kid)
