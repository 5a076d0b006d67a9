"""Who has logged in, until they log out or half a day is over; and the one link that logs in without a token."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

LASTS_S: Final = 12 * 3600.0
MOST: Final = 1000
LINK_LASTS_S: Final = 15 * 60.0


def digest(text: str) -> bytes:
    """Return what is kept and compared in place of a secret."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


class Sessions:
    """Sessions by the digest of what a browser's cookie holds; for one too many the oldest ends."""

    def __init__(self) -> None:
        self._ends_s: dict[bytes, float] = {}

    def begin(self, secret: str, now_s: float) -> None:
        """Let whoever shows this secret in."""
        self._ends_s = {known: end_s for known, end_s in self._ends_s.items() if end_s > now_s}
        while len(self._ends_s) >= MOST:
            del self._ends_s[next(iter(self._ends_s))]
        self._ends_s[digest(secret)] = now_s + LASTS_S

    def has(self, secret: str, now_s: float) -> bool:
        """Whether this is the secret of a session that goes on; looked up by its digest, which tells no time apart."""
        return self._ends_s.get(digest(secret), 0.0) > now_s

    def end(self, secret: str) -> None:
        """Let whoever shows this secret in no more."""
        self._ends_s.pop(digest(secret), None)


class Invitation:
    """A code that logs in once, soon."""

    def __init__(self, code: str, now_s: float) -> None:
        self._digest: bytes | None = digest(code)
        self._until_s = now_s + LINK_LASTS_S

    def accept(self, code: str, now_s: float) -> bool:
        """Whether this is the code; from then on it no longer is."""
        if self._digest is None or now_s >= self._until_s or not hmac.compare_digest(digest(code), self._digest):
            return False
        self._digest = None
        return True
