"""Decides whether a caller may see the hub: from a known name, from no foreign page, and as whom off loopback."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlsplit

from msgspec import Struct

from telemetry.hub.sessions import digest

LIVE_PATH = "/livez"
LOGIN_PATH = "/login"
LOGOUT_PATH = "/logout"
# Of what a browser loads for the form; it tells nothing of the mesh.
STYLE_PATH = "/static/penstock.css"
COOKIE = "penstock-hub"
_OPEN_PATHS: Final = (LIVE_PATH, LOGIN_PATH, STYLE_PATH)
_NEXT_CHARACTERS = 1024
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

    @property
    def bearers(self) -> list[str]:
        """What it shows as ``Authorization: Bearer``."""
        shown = [value.partition(" ") for value in self.values("authorization")]
        return [token.strip() for scheme, _, token in shown if scheme.lower() == "bearer"]

    @property
    def cookies(self) -> list[str]:
        """What it shows as our cookie."""
        found = []
        for header in self.values("cookie"):
            try:
                cookie = SimpleCookie(header)
            except CookieError:
                continue
            if COOKIE in cookie:
                found.append(cookie[COOKIE].value)
        return found

    @property
    def came_from_elsewhere(self) -> bool:
        """Whether a page of others led here: a browser keeps our strict cookie back from that one request."""
        return any(fetch not in _OWN_FETCHES for fetch in self.values("sec-fetch-site"))


class Gate(Struct, frozen=True):
    """Who is let in.

    Attributes:
        bound_host: what the listener is bound to.
        token: "" lets everybody in who reaches it, which on loopback are this machine's users.
    """

    bound_host: str
    token: str = ""

    def check_place(self, caller: Caller) -> None:
        """Let the caller come as far as being asked who it is.

        Raises:
            Refused: it calls us by a name of others, or is a page of others.
        """
        _check_host(caller, self.bound_host)
        _check_origin(caller)

    def is_open_to(self, caller: Caller) -> bool:
        """Whether nobody is asked who they are for this."""
        return not self.token or caller.path in _OPEN_PATHS

    def knows(self, token: str) -> bool:
        """Whether this is the token; how long that takes does not tell how much of it is right."""
        return bool(self.token) and hmac.compare_digest(digest(token), digest(self.token))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a listener that is bound to this host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def login_path(target: str) -> str:
    """Return where to log in, to come to this path afterwards."""
    return f"{LOGIN_PATH}?next={quote(place_after_login(target), safe='')}"


def place_after_login(target: str) -> str:
    """Return where to go after logging in: a path of ours, whatever was asked for."""
    is_ours = target.startswith("/") and not target.startswith(("//", LOGIN_PATH, LOGOUT_PATH))
    is_plain = target.isascii() and target.isprintable() and "\\" not in target and " " not in target
    return target if is_ours and is_plain and len(target) <= _NEXT_CHARACTERS else "/"


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
    follows_link = caller.method == "GET" and caller.values("sec-fetch-mode") == ["navigate"]
    if caller.came_from_elsewhere and not follows_link:
        raise Refused(403, "The hub is not for pages of others.")
    if not _are_own(caller.values("origin"), caller.values("host")):
        raise Refused(403, "The hub is not for pages of others.")


def _are_own(origins: Sequence[str], hosts: Sequence[str]) -> bool:
    return all(origin in (f"http://{hosts[0]}", f"https://{hosts[0]}") for origin in origins)
