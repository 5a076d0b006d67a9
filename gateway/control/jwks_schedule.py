"""Decides when an issuer's keys are fetched, and whether those that were fetched last are still to be trusted."""

from __future__ import annotations

import math

from msgspec import Struct
from msgspec.structs import replace

from policies.snapshot.mesh import JwtIssuer

# RFC 8725 leaves the pace to us: an attacker who makes up key names must not make us hammer the issuer.
EXTRA_FETCH_EVERY_S = 30.0
_FIRST_RETRY_S = 2.0
_LONGEST_RETRY_S = 60.0
# Gateways that started together do not fetch together: a tenth earlier or later.
_JITTER = 0.1


class IssuerStanding(Struct, frozen=True):
    """What is known of one issuer's keys; all moments are monotonic.

    Attributes:
        jwks: as it was fetched last; b"" before the first time.
        fetched_s: when; -inf before the first time.
        failures: fetches since then that failed.
        next_s: when to fetch again.
        extra_from_s: from when on an unknown key may bring that forward.
    """

    jwks: bytes = b""
    fetched_s: float = -math.inf
    failures: int = 0
    next_s: float = 0.0
    extra_from_s: float = 0.0


def fetched(standing: IssuerStanding, issuer: JwtIssuer, jwks: bytes, now_s: float, draw: float) -> IssuerStanding:
    """Return the standing after a fetch; ``draw`` is between 0 and 1."""
    next_s = now_s + _jittered(issuer.refresh_s, draw)
    return replace(standing, jwks=jwks, fetched_s=now_s, failures=0, next_s=next_s, extra_from_s=_extra(now_s))


def failed(standing: IssuerStanding, issuer: JwtIssuer, now_s: float, draw: float) -> IssuerStanding:
    """Return the standing after a fetch that failed: what was fetched before stays, and it is tried again sooner."""
    pause_s = min(_FIRST_RETRY_S * 2.0 ** min(standing.failures, 30), _LONGEST_RETRY_S, issuer.refresh_s)
    next_s = now_s + _jittered(pause_s, draw)
    return replace(standing, failures=standing.failures + 1, next_s=next_s, extra_from_s=_extra(now_s))


def wanted(standing: IssuerStanding, now_s: float) -> IssuerStanding:
    """Return the standing after a token named an unknown key: fetch now, unless that was done a moment ago."""
    if now_s < standing.extra_from_s:
        return standing
    return replace(standing, next_s=min(standing.next_s, now_s), extra_from_s=_extra(now_s))


def trusted_keys(standing: IssuerStanding, issuer: JwtIssuer, now_s: float) -> bytes:
    """Return the keys to verify tokens by; b"" when there are none, or they are too old."""
    return standing.jwks if now_s < standing.fetched_s + issuer.keep_stale_s else b""


def stale_s(standing: IssuerStanding, since_s: float, now_s: float) -> float:
    """Return for how long the keys have been older than they should be; 0.0 while fetches succeed.

    Args:
        since_s: when the issuer was first asked for, for one that has never answered.
    """
    return max(0.0, now_s - max(standing.fetched_s, since_s)) if standing.failures else 0.0


def _jittered(length_s: float, draw: float) -> float:
    return length_s * (1.0 - _JITTER + 2.0 * _JITTER * draw)


def _extra(now_s: float) -> float:
    return now_s + EXTRA_FETCH_EVERY_S
