"""Bad keys: addresses that show many wrong credentials are told to wait; a good one always passes."""

from __future__ import annotations

import ipaddress

from gateway.decide.decision import Refusal

MAX_SOURCES = 10_000
TRIES = 20
PERIOD_S = 10.0
# A key that expired, was revoked or lacks a scope was somebody's: whoever shows it does not guess.
_GUESSES = frozenset({"key_unknown", "token_refused"})
_MESSAGE = "this address has shown too many wrong credentials; wait, and check what it sends"
_V6_NETWORK_BITS = 64


class BadKeys:
    """Wrong credentials of late, by the address that they came from.

    Each worker counts for itself, so that an address has as many tries as there are workers times ``TRIES``. When as
    many addresses as there may be are known, the one that was first to begin its period is forgotten.
    """

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        self._tries: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._tries)

    def back_off(self, refusal: Refusal, address: str, now_s: float) -> Refusal:
        """Count a refusal if it may have been a guess, and return it, or one that says when to come again."""
        if refusal.reason not in _GUESSES or not address:
            return refusal
        source = source_of(address)
        since_s = self._since_s.get(source)
        if since_s is None or now_s >= since_s + PERIOD_S:
            self._begin(source, now_s)
            return refusal
        self._tries[source] += 1
        if self._tries[source] <= TRIES:
            return refusal
        return Refusal("too_many_bad_keys", _MESSAGE, since_s + PERIOD_S - now_s)

    def _begin(self, source: str, now_s: float) -> None:
        self._since_s.pop(source, None)
        if len(self._since_s) >= MAX_SOURCES:
            first = next(iter(self._since_s))  # a period that begins goes to the end: dicts keep their order
            del self._since_s[first], self._tries[first]
        self._since_s[source] = now_s
        self._tries[source] = 1


def source_of(address: str) -> str:
    """Return what one caller holds of addresses: one of IPv4, a network of 64 bits of IPv6."""
    bare = address.partition("%")[0]
    if ":" not in bare:
        return bare
    try:
        parsed = ipaddress.IPv6Address(bare)
    except ValueError:
        return bare
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), _V6_NETWORK_BITS), strict=False).network_address)
