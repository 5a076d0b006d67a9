"""The sidecar's configuration: read once from the command line, fixed until the process ends."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

SHORTEST_S = 0.1
LONGEST_S = 60.0

_ADDRESS = "unix:PATH or http://host:port"
_DEFAULT_LISTEN = "127.0.0.1:9464"


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
        pod: whose sidecar it is; None for the gateway's.
        listen: where metrics are read and spans are taken; port 0 lets the system choose. Or a descriptor that listens.
        records: where recorders connect; None where there are none. Or a descriptor that listens.
        export: what receives spans; None where they go nowhere.
        keep_from: the gateway's sidecar; None where each decides for itself.
        slos: file of the objectives by model; "" for none.
        attributes: keys of spans' attributes that may leave beside the usual.
        attributes_file: file of more such keys, read again when it changes; "" for none.
        lifeline: a descriptor; when it reads as ended, the parent is gone. None without one.
        every_s: seconds from one question to the pod to the next.
    """

    pod: Address | None
    listen: Address | int
    records: Address | int | None
    export: Address | None
    keep_from: Address | None
    slos: str
    attributes: tuple[str, ...]
    attributes_file: str
    lifeline: int | None
    every_s: float


def parse_arguments(argv: Sequence[str]) -> SidecarConfig:
    """Read the command line; ends the process with status 2 and a sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="penstock sidecar", description="Count, sample and export what a pod or the gateway records."
    )
    parser.add_argument("--pod", type=_address, help=f"{_ADDRESS}; without it, the gateway's sidecar")
    listen = parser.add_mutually_exclusive_group()
    listen.add_argument("--listen", type=_listen, default=_DEFAULT_LISTEN, help=f"host:port ({_DEFAULT_LISTEN})")
    listen.add_argument("--listen-fd", dest="listen", type=_descriptor, metavar="N", help="a listening socket")
    records = parser.add_mutually_exclusive_group()
    records.add_argument("--records", type=_unix, metavar="unix:PATH", help="where recorders connect")
    records.add_argument("--records-fd", dest="records", type=_descriptor, metavar="N", help="a listening socket")
    parser.add_argument("--export", type=_export, help=f"a receiver of OTLP over HTTP: {_ADDRESS} or none (none)")
    parser.add_argument("--keep-from", type=_tcp_url, metavar="http://host:port", help="the gateway's sidecar")
    parser.add_argument("--slos", default="", metavar="FILE", help="objectives by model")
    parser.add_argument("--attributes", type=_keys, default=(), metavar="KEYS", help="keys that may leave: a,b.*")
    parser.add_argument("--attributes-file", default="", metavar="FILE", help="more of them, as a JSON list")
    parser.add_argument("--lifeline-fd", dest="lifeline", type=_descriptor, metavar="N", help="ends with the parent")
    parser.add_argument("--every-s", type=_every_s, default=1.0, help="seconds between questions to the pod (1)")
    return SidecarConfig(**vars(parser.parse_args(argv)))


def _address(text: str) -> Address:
    return _unix(text) if text.startswith("unix:") else _tcp_url(text, _ADDRESS)


def _export(text: str) -> Address | None:
    return None if text == "none" else _address(text)


def _unix(text: str) -> Address:
    if not text.startswith("unix:") or text == "unix:":
        raise argparse.ArgumentTypeError(f"{text!r} is not unix:PATH")
    return Address(path=text.removeprefix("unix:"))


def _tcp_url(text: str, wanted: str = "http://host:port") -> Address:
    if not text.startswith("http://"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return _tcp(text.removeprefix("http://").removesuffix("/"), text, wanted)


def _listen(text: str) -> Address:
    return _tcp(text, text, "host:port")


def _descriptor(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a descriptor")
    return int(text)


def _keys(text: str) -> tuple[str, ...]:
    return tuple(key for key in text.split(",") if key)


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
