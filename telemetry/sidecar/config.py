"""The sidecar's configuration: read once from the command line, fixed until the process ends."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from telemetry.sidecar.spool import LEAST_BYTES

SHORTEST_S = 0.1
LONGEST_S = 60.0

ANSWER_WITHIN_S = 5.0
QUEUE_BYTES = 64 * 2**20

_ADDRESS = "unix:PATH or http://host:port"
_RECEIVER = "unix:PATH or http[s]://host:port[/path]"
_is_path = re.compile(r"[A-Za-z0-9._~/%+-]*").fullmatch
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
class ExportTo:
    """What receives spans.

    Attributes:
        base_path: what comes before ``/v1/traces``; "" for nothing.
        ca: file of the certificates that its own is judged by; "" for those of the system.
        within_s: how long one answer may take.
    """

    address: Address
    is_tls: bool = False
    base_path: str = ""
    ca: str = ""
    within_s: float = ANSWER_WITHIN_S


@dataclass(frozen=True, slots=True)
class SidecarConfig:
    """How one sidecar is run.

    Attributes:
        pod: whose sidecar it is; None for the gateway's.
        listen: where metrics are read and spans are taken; port 0 lets the system choose. Or a descriptor that listens.
        otlp: where spans are taken besides; None for nowhere else.
        records: where recorders connect; None where there are none. Or a descriptor that listens.
        export: what receives spans; None where they go nowhere.
        export_headers_file: file of header fields to send along, read again when it changes; "" for none.
        export_headers_env: environment variable that holds them; "" for none.
        queue: folder in which spans wait to be exported; "" where they wait in memory.
        queue_bytes: that it may hold.
        left: directory of the folders of other sidecars; what those leave that are gone is sent too. "" for none.
        keep_from: the gateway's sidecar; None where each decides for itself.
        slos: file of the objectives by model; "" for none.
        attributes: keys of spans' attributes that may leave beside the usual.
        attributes_file: file of more such keys, read again when it changes; "" for none.
        lifeline: a descriptor; when it reads as ended, the parent is gone. None without one.
        every_s: seconds from one question to the pod to the next.
        machine: tells of the whole machine too, and of the disk that has this directory; "" tells of processes alone.
        drift_settings: file of how each model's inputs and outputs are watched; "" for none.
        drift_file: where what rows add up to is kept, ``DIRECTORY/MODEL/VERSION/POD.windows``; "" for nowhere.
    """

    pod: Address | None
    listen: Address | int
    otlp: Address | None
    records: Address | int | None
    export: ExportTo | None
    export_headers_file: str
    export_headers_env: str
    queue: str
    queue_bytes: int
    left: str
    keep_from: Address | None
    slos: str
    attributes: tuple[str, ...]
    attributes_file: str
    lifeline: int | None
    every_s: float
    machine: str = ""
    drift_settings: str = ""
    drift_file: str = ""


def parse_arguments(argv: Sequence[str]) -> SidecarConfig:
    """Read the command line; ends the process with status 2 and a sentence when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="penstock sidecar", description="Count, sample and export what a pod or the gateway records."
    )
    parser.add_argument("--pod", type=_address, help=f"{_ADDRESS}; without it, the gateway's sidecar")
    listen = parser.add_mutually_exclusive_group()
    listen.add_argument("--listen", type=_listen, default=_DEFAULT_LISTEN, help=f"host:port ({_DEFAULT_LISTEN})")
    listen.add_argument("--listen-fd", dest="listen", type=_descriptor, metavar="N", help="a listening socket")
    parser.add_argument("--otlp", type=_listen, metavar="HOST:PORT", help="takes spans besides, such as 127.0.0.1:4317")
    records = parser.add_mutually_exclusive_group()
    records.add_argument("--records", type=_unix, metavar="unix:PATH", help="where recorders connect")
    records.add_argument("--records-fd", dest="records", type=_descriptor, metavar="N", help="a listening socket")
    parser.add_argument("--export", type=_export, help=f"a receiver of OTLP over HTTP: {_RECEIVER} or none (none)")
    parser.add_argument("--export-ca", default="", metavar="FILE", help="what its certificate is judged by")
    fields = parser.add_mutually_exclusive_group()
    fields.add_argument("--export-headers-file", default="", metavar="FILE", help="fields to send, as a JSON object")
    fields.add_argument("--export-headers-env", default="", metavar="NAME", help="a variable that holds the same")
    parser.add_argument("--export-timeout-s", type=_seconds, default=ANSWER_WITHIN_S, help="for one answer (5)")
    parser.add_argument("--queue", default="", metavar="DIR", help="where spans wait for the receiver (in memory)")
    parser.add_argument("--queue-bytes", type=_queue_bytes, default=QUEUE_BYTES, help="that it may hold (67108864)")
    parser.add_argument("--left", default="", metavar="DIR", help="of other sidecars' folders: send what they leave")
    parser.add_argument("--keep-from", type=_tcp_url, metavar="http://host:port", help="the gateway's sidecar")
    parser.add_argument("--slos", default="", metavar="FILE", help="objectives by model")
    parser.add_argument("--attributes", type=_keys, default=(), metavar="KEYS", help="keys that may leave: a,b.*")
    parser.add_argument("--attributes-file", default="", metavar="FILE", help="more of them, as a JSON list")
    parser.add_argument("--lifeline-fd", dest="lifeline", type=_descriptor, metavar="N", help="ends with the parent")
    parser.add_argument("--machine", default="", metavar="DIR", help="tell of the machine, its GPUs and DIR's disk too")
    parser.add_argument("--drift-settings", default="", metavar="FILE", help="how models are watched, as JSON")
    parser.add_argument("--drift-file", default="", metavar="DIR/MODEL/VERSION/POD.windows", help="what rows add up to")
    parser.add_argument("--every-s", type=_seconds, default=1.0, help="seconds between questions to the pod (1)")
    given = vars(parser.parse_args(argv))
    ca, within_s = given.pop("export_ca"), given.pop("export_timeout_s")
    if given["export"] is not None:
        given["export"] = replace(given["export"], ca=ca, within_s=within_s)
    return SidecarConfig(**given)


def _address(text: str) -> Address:
    return _unix(text) if text.startswith("unix:") else _tcp_url(text, _ADDRESS)


def _export(text: str) -> ExportTo | None:
    """Read where spans go; what a URL says behind its port comes before OTLP's own path."""
    if text == "none":
        return None
    if text.startswith("unix:"):
        return ExportTo(_unix(text))
    scheme, separator, rest = text.partition("://")
    authority, slash, path = rest.partition("/")
    if scheme not in ("http", "https") or not separator or not _is_path(path):
        raise argparse.ArgumentTypeError(f"{text!r} is not {_RECEIVER}")
    base_path = (slash + path).rstrip("/")
    return ExportTo(_tcp(authority, text, _RECEIVER), scheme == "https", base_path)


def _queue_bytes(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 15 or int(text) < LEAST_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bytes from {LEAST_BYTES} on")
    return int(text)


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


def _seconds(text: str) -> float:
    value_s = float(text)
    if not SHORTEST_S <= value_s <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not between {SHORTEST_S:g} and {LONGEST_S:g} seconds")
    return value_s
