"""Token desk: verifies the tokens that one worker's callers show, each once in a while, and says what it refuses."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from gateway.decide.credentials import Credential, NoCredential, TokenShown
from gateway.decide.issuer_keys import NO_KEYS, KeysUnreadable, read_keys
from gateway.decide.tokens import REFUSED, Cause, TokenRefused, Trusted, looks_like_token, verify
from policies.snapshot.mesh import JwtIssuer
from telemetry.logs.line import warning
from telemetry.logs.log import LOG

MAX_VERIFIED = 10_000
VERIFIED_FOR_S = 60.0
# The log's: one line for each issuer and cause in so long, with how many it stands for.
SAY_EVERY_S = 10.0
# The supervisor asks an issuer far less often; this only keeps the channel quiet.
REPORT_EVERY_S = 1.0
_REFUSED = NoCredential("token_refused", REFUSED)


def _to_log(event: str) -> None:
    LOG.say("gateway", event)


class _Verified(Struct, frozen=True):
    """A token that held; it is verified anew from ``until_s`` on, monotonic."""

    shown: TokenShown
    until_s: float


class TokenDesk:
    """Verifies tokens: 0.15 to 1 ms (ES384) the first time, and a digest of 1 us for as long as one is remembered.

    At most ``MAX_VERIFIED`` are remembered, by their digest; the one that was verified first makes room.
    """

    def __init__(self, on_unknown_kid: Callable[[str], None], say: Callable[[str], None] = _to_log) -> None:
        self._on_unknown_kid = on_unknown_kid
        self._say = say
        self._trusted: dict[str, Trusted] = {}
        self._verified: dict[bytes, _Verified] = {}
        self._refused: Counter[str] = Counter()
        self._say_again_s: dict[str, float] = {}
        self._report_again_s: dict[str, float] = {}

    def use(self, issuers: Sequence[JwtIssuer], jwks: Mapping[str, bytes]) -> None:
        """Trust these issuers from now on, and no others; ``jwks`` are the keys of those that have some."""
        kept = {issuer.name: issuer for issuer in issuers}
        if kept == {name: one.issuer for name, one in self._trusted.items()}:
            return
        self._trusted = {name: Trusted(issuer, NO_KEYS) for name, issuer in kept.items()}
        self._verified.clear()
        self._refused.clear()
        self._say_again_s.clear()
        self._report_again_s.clear()
        for name in kept:
            self.put_keys(name, jwks.get(name, b""))

    def put_keys(self, issuer: str, jwks: bytes) -> None:
        """Verify the tokens of the issuer of that name with these keys; b"" takes them away."""
        known = self._trusted.get(issuer)
        if known is None:
            return
        try:
            ring = read_keys(jwks, known.issuer) if jwks else NO_KEYS
        except KeysUnreadable as error:
            self._say(warning(f"keys of the issuer {issuer} are not used: {error}"))
            ring = NO_KEYS
        self._trusted[issuer] = Trusted(known.issuer, ring)
        self._verified.clear()

    def is_for(self, credential: bytes) -> bool:
        """Whether a bearer credential is to be taken for a token and not for an API key."""
        return bool(self._trusted) and looks_like_token(credential)

    def read(self, token: bytes, wall_s: float, now_s: float) -> Credential:
        """Return what a token proves, or that it proves nothing."""
        digest = hashlib.sha256(token).digest()
        known = self._verified.get(digest)
        if known is not None and now_s < known.until_s:
            return known.shown
        try:
            shown = verify(token, tuple(self._trusted.values()), wall_s)
        except TokenRefused as refused:
            self._note(refused, now_s)
            return _REFUSED
        self._verified.pop(digest, None)
        if len(self._verified) >= MAX_VERIFIED:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = _Verified(shown, now_s + VERIFIED_FOR_S)
        return shown

    def _note(self, refused: TokenRefused, now_s: float) -> None:
        if refused.cause is Cause.KID_UNKNOWN and now_s >= self._report_again_s.get(refused.issuer, now_s):
            self._report_again_s[refused.issuer] = now_s + REPORT_EVERY_S
            self._on_unknown_kid(refused.issuer)
        why = str(refused)
        self._refused[why] += 1
        if now_s >= self._say_again_s.get(why, now_s):
            self._say_again_s[why] = now_s + SAY_EVERY_S
            count = self._refused.pop(why)
            self._say(f"a token was refused: {why}" if count == 1 else f"{count} tokens were refused: {why}")
