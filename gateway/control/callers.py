"""Decides whether a caller may be listened to at all: it calls us by a name of ours, and no web page sends it."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Sequence

from msgspec import Struct

from gateway.errors import REASONS as GATEWAY_REASONS
from model_pod.wire.refusals import Reason, Refused

LIVE_PATH = "/livez"

MANAGEMENT_REASONS: tuple[Reason, ...] = (
    Reason("bad_query", 400, False, "BadRequestException", "A parameter of the query has a value it cannot have."),
    Reason("request_not_recorded", 404, False, "ResourceNotFoundException", "No record of this request is kept."),
    Reason("key_not_found", 404, False, "ResourceNotFoundException", "No tenant has a key or credential of this id."),
    Reason("quota_not_found", 404, False, "ResourceNotFoundException", "No tenant has a quota of this name."),
    Reason("grant_not_found", 404, False, "ResourceNotFoundException", "The quota has no such grant that counts."),
    Reason("shadow_not_found", 404, False, "ResourceNotFoundException", "The model has no shadow of this name."),
    Reason("sample_not_found", 404, False, "ResourceNotFoundException", "The model has no sample of this request."),
    Reason("replay_not_found", 404, False, "ResourceNotFoundException", "The model has no such replay."),
    Reason("too_many_log_levels", 409, False, "ConflictStatusException", "As many log levels are changed as can be."),
    Reason("too_many_grants", 409, False, "ConflictStatusException", "As many grants count as can count at once."),
    Reason("rollout_not_found", 404, False, "ResourceNotFoundException", "The model has no canary."),
    Reason("rollout_refused", 409, False, "ConflictStatusException", "The canary does not stand where this is done."),
    Reason("rollouts_not_kept", 503, True, "ServiceUnavailableException", "Rollouts cannot be kept at the moment."),
    Reason("objective_not_found", 404, False, "ResourceNotFoundException", "No model has an objective of this name."),
    Reason("host_not_allowed", 403, False, "InvalidKeyException", "The Host is no name of the management API."),
    Reason("foreign_origin", 403, False, "InvalidKeyException", "A web page may not call the management API."),
    Reason("permission_missing", 403, False, "InvalidKeyException", "No role of the caller's allows this."),
    Reason("audit_unavailable", 503, True, "ServiceUnavailableException", "The audit log cannot be written or read."),
    Reason("keys_not_kept", 503, True, "ServiceUnavailableException", "A change of keys could not be kept."),
    Reason("copies_unavailable", 503, True, "ServiceUnavailableException", "No process handles copies at the moment."),
    Reason("ledger_unavailable", 503, True, "ServiceUnavailableException", "The ledger of quotas cannot be used."),
    Reason("management_failed", 500, False, "InternalServerException", "The management API failed."),
)

REASONS: dict[str, Reason] = GATEWAY_REASONS | {reason.name: reason for reason in MANAGEMENT_REASONS}

# A name or an address of RFC 9112, 3.2, as far as names of machines go: nothing that a URL gives a meaning to.
_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]{1,255})|\[(?P<v6>[0-9A-Fa-f:.]{2,45})\])(?::(?P<port>[0-9]{1,5}))?")
_MAX_PORT = 65535
# What a browser says of a request that the user typed, or that no page made.
_OWN_FETCHES = ("none", "same-origin")


class AdminCaller(Struct, frozen=True):
    """What a request says of who sent it.

    Attributes:
        headers: lower-case names, in the order they came.
        source: the address that it came from, "" when that is not known.
        peer_identity: what its client certificate names, "" without one.
    """

    path: str
    headers: tuple[tuple[str, str], ...]
    source: str = ""
    peer_identity: str = ""

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for known, value in self.headers if known == name]


class Gate(Struct, frozen=True):
    """Who is listened to.

    Attributes:
        bound_hosts: hosts that the API is bound to.
        names: other names of ours, those that the listener's certificate proves; "*.example" is one label in front.
    """

    bound_hosts: tuple[str, ...]
    names: tuple[str, ...] = ()

    def admit(self, caller: AdminCaller) -> None:
        """Let the caller pass.

        Raises:
            Refused: with the reason.
        """
        _check_host(caller.values("host"), self.bound_hosts, self.names)
        _check_origin(caller)


def admit_reader(caller: AdminCaller, bound_hosts: tuple[str, ...]) -> None:
    """Let a reader of metrics pass: a program, which needs no token.

    On loopback it calls us by a name of ours, so that no web page's own name can lead here. Elsewhere readers use
    whatever name their network has for this machine.

    Raises:
        Refused: with the reason.
    """
    if all(ipaddress.ip_address(host).is_loopback for host in bound_hosts):
        _check_host(caller.values("host"), bound_hosts, ())
    _check_origin(caller)


def token_digest(token: str) -> bytes:
    """Return what a token is compared by, so that its length is not told by the time a comparison takes."""
    return hashlib.sha256(token.encode()).digest()


def _check_host(hosts: Sequence[str], bound_hosts: Sequence[str], names: Sequence[str]) -> None:
    if len(hosts) != 1:
        raise Refused("malformed_http", "Send exactly one Host header.")
    name = _host_name(hosts[0])
    if not _is_proven(name, names) and not _is_ours(name, bound_hosts):
        raise Refused("host_not_allowed", "Call it by the address that it listens on.")


def _host_name(host: str) -> str:
    written = _HOST.fullmatch(host)
    if written is None or int(written["port"] or 0) > _MAX_PORT:
        raise Refused("malformed_http", "The Host header is not HOST or HOST:PORT.")
    return str(written["name"] or written["v6"]).lower()


def _is_proven(name: str, names: Sequence[str]) -> bool:
    """Whether the certificate names it, or all names at its place: nobody else can show a browser that certificate."""
    first, _, rest = name.partition(".")
    return name in names or (first not in ("", "*") and f"*.{rest}" in names)


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
