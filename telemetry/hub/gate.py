"""Decides whether a caller may see the hub: from a known name, from no foreign page, and with a token off loopback."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from msgspec import Struct

LIVE_PATH = "/livez"
LOGIN_PATH = "/login"
COOKIE = "penstock-hub"
_OPEN_PATHS = (LIVE_PATH, LOGIN_PATH)
_COOKIE_KEY = b"penstock hub cookie"
# What a browser says of a request that the user typed, or that no page made.
_OWN_FETCHES = ("none", "same-origin")


class Refused(Exception):
    """The caller may not pass; the message is a sentence for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Caller(Struct, frozen=True):
    """What a request says of who sent it.

    Attributes:
        headers: lower-case names, in the order they came.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for known, value in self.headers if known == name]


class Gate(Struct, frozen=True):
    """Who is let in.

    Attributes:
        bound_host: what the listener is bound to.
        token: "" lets everybody in who reaches it, which on loopback are this machine's users.
    """

    bound_host: str
    token: str = ""

    def admit(self, caller: Caller) -> None:
        """Let the caller pass.

        Raises:
            Refused: with the status to answer.
        """
        _check_host(caller, self.bound_host)
        _check_origin(caller)
        if self.token and caller.path not in _OPEN_PATHS and not self._is_known(caller):
            raise Refused(401, "Log in, or send the token as `Authorization: Bearer TOKEN`.")

    def knows(self, token: str) -> bool:
        """Whether this is the token; how long that takes does not tell how much of it is right."""
        return hmac.compare_digest(_digest(token), _digest(self.token))

    def cookie(self) -> str:
        """Return the value of the cookie of who logged in; the token cannot be told from it."""
        return hmac.new(self.token.encode(), _COOKIE_KEY, hashlib.sha256).hexdigest()

    def _is_known(self, caller: Caller) -> bool:
        bearers = [value.partition(" ") for value in caller.values("authorization")]
        if any(scheme.lower() == "bearer" and self.knows(token.strip()) for scheme, _, token in bearers):
            return True
        return any(hmac.compare_digest(_digest(value), _digest(self.cookie())) for value in _cookies(caller))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener that is bound to this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _cookies(caller: Caller) -> list[str]:
    values = []
    for header in caller.values("cookie"):
        try:
            cookie = SimpleCookie(header)
        except CookieError:
            continue
        if COOKIE in cookie:
            values.append(cookie[COOKIE].value)
    return values


def _check_host(caller: Caller, bound_host: str) -> None:
    hosts = caller.values("host")
    if len(hosts) != 1:
        raise Refused(400, "Send exactly one Host header.")
    if not _is_ours(_name(hosts[0]), bound_host):
        raise Refused(403, "Call the hub by the address that it listens on.")


def _name(host: str) -> str:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # checks it
    except ValueError:
        return ""
    return "" if parts.netloc != host or "@" in host else parts.hostname or ""


def _is_ours(name: str, bound_host: str) -> bool:
    """Whether the name is one that no foreign name server can give to our address."""
    if not is_loopback(bound_host):
        return bool(name)  # a token is asked for, which a foreign page does not have
    return name == bound_host.lower() or is_loopback(name)


def _check_origin(caller: Caller) -> None:
    """Refuse what foreign pages ask for behind the user's back; a link to the hub may be followed from anywhere."""
    fetches = caller.values("sec-fetch-site")
    follows_link = caller.method == "GET" and caller.values("sec-fetch-mode") == ["navigate"]
    if any(fetch not in _OWN_FETCHES for fetch in fetches) and not follows_link:
        raise Refused(403, "The hub is not for pages of others.")
    if not _are_own(caller.values("origin"), caller.values("host")):
        raise Refused(403, "The hub is not for pages of others.")


def _are_own(origins: Sequence[str], hosts: Sequence[str]) -> bool:
    return all(origin in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins)
