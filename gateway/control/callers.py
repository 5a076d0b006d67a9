"""Decides whether a caller may speak to the supervisor: from a known name, from no web page, mostly with the token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence

from msgspec import Struct

from gateway.errors import REASONS as GATEWAY_REASONS
from model_pod.wire.refusals import Reason, Refused

LIVE_PATH = "/livez"

MANAGEMENT_REASONS: tuple[Reason, ...] = (
    Reason("bad_query", 400, False, "BadRequestException", "A parameter of the query has a value it cannot have."),
    Reason("objective_not_found", 404, False, "ResourceNotFoundException", "No model has an objective of this name."),
    Reason("host_not_allowed", 403, False, "InvalidKeyException", "The Host is no name of the management API."),
    Reason("foreign_origin", 403, False, "InvalidKeyException", "A web page may not call the management API."),
    Reason("management_failed", 500, False, "InternalServerException", "The management API failed."),
)

REASONS: dict[str, Reason] = GATEWAY_REASONS | {reason.name: reason for reason in MANAGEMENT_REASONS}

# What a browser says of a request that the user typed, or that no page made.
_OWN_FETCHES = ("none", "same-origin")


class AdminCaller(Struct, frozen=True):
    """What a request says of who sent it.

    Attributes:
        headers: lower-case names, in the order they came.
    """

    path: str
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for known, value in self.headers if known == name]


class Gate(Struct, frozen=True):
    """Who is let in.

    Attributes:
        token_digest: SHA-256 of the admin token.
        bound_hosts: hosts that the API is bound to.
    """

    token_digest: bytes
    bound_hosts: tuple[str, ...]

    def admit(self, caller: AdminCaller) -> None:
        """Let the caller pass.

        Raises:
            Refused: with the reason.
        """
        _check_host(caller.values("host"), self.bound_hosts)
        _check_origin(caller)
        if caller.path != LIVE_PATH:
            _check_token(caller.values("authorization"), self.token_digest)


def admit_reader(caller: AdminCaller, bound_hosts: tuple[str, ...]) -> None:
    """Let a reader of metrics pass: a program, which needs no token.

    On loopback it calls us by a name of ours, so that no web page's own name can lead here. Elsewhere readers use
    whatever name their network has for this machine.

    Raises:
        Refused: with the reason.
    """
    if all(ipaddress.ip_address(host).is_loopback for host in bound_hosts):
        _check_host(caller.values("host"), bound_hosts)
    _check_origin(caller)


def token_digest(token: str) -> bytes:
    """Return what a token is compared by, so that its length is not told by the time a comparison takes."""
    return hashlib.sha256(token.encode()).digest()


def _check_host(hosts: Sequence[str], bound_hosts: Sequence[str]) -> None:
    if len(hosts) != 1:
        raise Refused("malformed_http", "Send exactly one Host header.")
    if not _is_ours(_host_name(hosts[0]), bound_hosts):
        raise Refused("host_not_allowed", "Call it by the address that it listens on.")


def _host_name(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, "0"
    if not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise Refused("malformed_http", "The Host header is not HOST or HOST:PORT.")
    return name.removeprefix("[").removesuffix("]").lower()


def _is_ours(name: str, bound_hosts: Sequence[str]) -> bool:
    """Whether the name is one that no foreign name server can give to our address."""
    if name == "localhost" or name in bound_hosts:
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or any(ipaddress.ip_address(bound).is_unspecified for bound in bound_hosts)


def _check_origin(caller: AdminCaller) -> None:
    fetches = caller.values("sec-fetch-site")
    if caller.values("origin") or any(fetch not in _OWN_FETCHES for fetch in fetches):
        raise Refused("foreign_origin", "This is not for web pages; call it from a program.")


def _check_token(credentials: Sequence[str], expected: bytes) -> None:
    if not credentials:
        raise Refused("key_missing", "Send the admin token as `Authorization: Bearer TOKEN`.")
    scheme, _, token = credentials[0].partition(" ")
    matches = hmac.compare_digest(token_digest(token.strip()), expected)
    if len(credentials) != 1 or scheme.lower() != "bearer" or not matches:
        raise Refused("key_unknown", "This is not the admin token of this mesh.")
