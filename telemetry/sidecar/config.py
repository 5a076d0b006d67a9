"""The sidecar's configuration: read once from the command line, fixed until the process ends."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

SHORTEST_S = 0.1
LONGEST_S = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process listens.

    Attributes:
        path: of a Unix socket; "" for TCP.
        host: without brackets; "" for a Unix socket.
    """

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SidecarConfig:
    """How one sidecar is run.

    Attributes:
        listen: where metrics are read; port 0 lets the system choose.
        every_s: seconds from one question to the pod to the next.
    """

    pod: Address
    listen: Address
    every_s: float


def parse_arguments(argv: Sequence[str]) -> SidecarConfig:
    """Read the command line; ends the process with status 2 and a sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="penstock sidecar", description="Show one pod's metrics to Prometheus.")
    parser.add_argument("--pod", required=True, type=_pod, help="unix:PATH or http://host:port")
    parser.add_argument("--listen", type=_listen, default="127.0.0.1:9464", help="host:port (127.0.0.1:9464)")
    parser.add_argument("--every-s", type=_every_s, default=1.0, help="seconds between questions to the pod (1)")
    return SidecarConfig(**vars(parser.parse_args(argv)))


def _pod(text: str) -> Address:
    if text.startswith("unix:") and text != "unix:":
        return Address(path=text.removeprefix("unix:"))
    if text.startswith("http://"):
        return _tcp(text.removeprefix("http://").removesuffix("/"), text, "unix:PATH or http://host:port")
    raise argparse.ArgumentTypeError(f"{text!r} is neither unix:PATH nor http://host:port")


def _listen(text: str) -> Address:
    return _tcp(text, text, "host:port")


def _tcp(authority: str, text: str, wanted: str) -> Address:
    """Read ``host:port`` or ``[v6]:port``."""
    refused = argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname or "", parts.port
        host.encode("idna")  # as a look-up will; a label that is too long shows here
    except ValueError as error:
        raise refused from error
    if not host or port is None or parts.netloc != authority or "@" in authority or not authority.isascii():
        raise refused
    return Address(host=host, port=port)


def _every_s(text: str) -> float:
    value_s = float(text)
    if not SHORTEST_S <= value_s <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not between {SHORTEST_S:g} and {LONGEST_S:g} seconds")
    return value_s
