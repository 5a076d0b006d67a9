"""Decides who is no web page: the port is for programs, and a browser may be led to it by anybody's page."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def is_welcome(headers: Mapping[str, str], bound_hosts: frozenset[str]) -> bool:
    """Whether a request may be answered.

    Args:
        headers: by lower-case name; several of one name are joined by commas.
        bound_hosts: what the port is bound to, as a name and as an address.
    """
    if "origin" in headers:  # only pages send one
        return False
    host = headers.get("host")
    if host is None:  # every browser sends one
        return True
    name = _name(host)
    if name in bound_hosts or _is_loopback(name):
        return True
    # Beyond this machine a sidecar is called by names that it does not know; and whoever reaches it needs no page.
    return bool(name) and not any(map(_is_loopback, bound_hosts))


def _name(host: str) -> str:
    """Return a Host field without its port; "" when it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # checks it
    except ValueError:
        return ""
    return "" if parts.netloc != host or "@" in host or "," in host else parts.hostname or ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
