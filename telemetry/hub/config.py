"""The hub's configuration: read once from the command line, fixed until the process ends."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from telemetry.hub.gate import is_loopback
from telemetry.hub.trace_files import Limits

LEAST_BYTES = 4 * 2**20
LEAST_S = 60.0
_TOKEN_CHARACTERS = 16
_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process listens; ``host`` is without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HubConfig:
    """How the hub is run.

    Attributes:
        listen: where pages and API are; port 0 lets the system choose.
        otlp: where spans are received besides ``otlp_unix``; None for nowhere.
        otlp_grpc: where they are received over gRPC; None for nowhere.
        otlp_unix: path of a Unix socket where spans are received; None for none.
        store: directory of the trace files.
        mesh: file in which the supervisor says where it listens.
        sidecars: file that lists the sidecars, as Prometheus reads it; None for none.
        publish: file in which the hub says where it listens.
        token_file: holds what whoever sees the pages must know, and is made where it is not there; None asks nobody,
            which needs a ``listen`` on loopback.
        otlp_token_file: holds what whoever sends spans must know where others reach ``otlp`` or ``otlp_grpc``, and is
            made where it is not there; None for the pages' own.
        lifeline_fd: read end of a pipe that ends when the parent does; None for none.
    """

    listen: Address
    otlp: Address | None
    otlp_grpc: Address | None
    otlp_unix: Path | None
    store: Path
    mesh: Path
    sidecars: Path | None
    publish: Path
    token_file: Path | None
    otlp_token_file: Path | None
    lifeline_fd: int | None
    limits: Limits


class ConfigError(Exception):
    """The hub cannot be run so; the message says why and how to mend it."""


def parse_arguments(argv: Sequence[str]) -> HubConfig:
    """Read the command line; ends the process with status 2 and a sentence when it is wrong."""
    parser = argparse.ArgumentParser(prog="penstock hub", description="Keep traces and show them in the browser.")
    parser.add_argument("--listen", type=_address, default="127.0.0.1:8090", help="of the pages (127.0.0.1:8090)")
    parser.add_argument("--otlp", type=_address, help="host:port that receives spans, usually 127.0.0.1:4318")
    parser.add_argument("--otlp-grpc", type=_address, help="the same over gRPC, usually 127.0.0.1:4317")
    parser.add_argument("--otlp-unix", type=Path, help="path of a Unix socket that receives spans")
    parser.add_argument("--store", type=Path, required=True, help="directory of the trace files")
    parser.add_argument("--mesh", type=Path, required=True, help="mesh.json of the running mesh")
    parser.add_argument("--sidecars", type=Path, help="file that lists the sidecars (Prometheus' file_sd format)")
    parser.add_argument("--publish", type=Path, required=True, help="where to write hub.json")
    parser.add_argument("--retain-s", type=_retain_s, default=86400.0, help="keep traces so long (86400)")
    parser.add_argument("--max-bytes", type=_max_bytes, default=2 * 2**30, help="of all traces together (2 GiB)")
    parser.add_argument(
        "--token-file", type=Path, help="whoever sees the pages must know what it holds; made where it is not there"
    )
    parser.add_argument(
        "--otlp-token-file",
        type=Path,
        help="off loopback, who sends spans must know what it holds; made where it is not there (the pages' token)",
    )
    parser.add_argument("--lifeline-fd", type=int, help="a pipe whose end is ours")
    given = vars(parser.parse_args(argv))
    limits = Limits(given.pop("retain_s"), given.pop("max_bytes"))
    config = HubConfig(**given, limits=limits)
    _check_who_may_call(parser, config)
    return config


def _check_who_may_call(parser: argparse.ArgumentParser, config: HubConfig) -> None:
    if config.token_file is not None:
        return
    if not is_loopback(config.listen.host):
        parser.error(f"{config.listen} can be reached from other machines: name a --token-file, or listen on 127.0.0.1")
    for address in _open_to_others(config) if config.otlp_token_file is None else ():
        parser.error(f"{address} can be reached from other machines: name an --otlp-token-file, or 127.0.0.1")


def _open_to_others(config: HubConfig) -> list[Address]:
    """Return where spans are received from other machines."""
    return [address for address in (config.otlp, config.otlp_grpc) if address and not is_loopback(address.host)]


def otlp_token(config: HubConfig) -> str:
    """Return the token that senders of spans must know; "" where they are on this machine.

    Raises:
        ConfigError: there is a file, and it holds no token.
        OSError: there is none, and it cannot be made.
    """
    if not _open_to_others(config):
        return ""
    if config.otlp_token_file is None:
        return pages_token(config)
    return _made_or_read(config.otlp_token_file)


def pages_token(config: HubConfig) -> str:
    """Return the token that whoever sees the pages must know; "" asks nobody.

    Raises:
        ConfigError: there is a file, and it holds no token.
        OSError: there is none, and it cannot be made.
    """
    return "" if config.token_file is None else _made_or_read(config.token_file)


def _made_or_read(path: Path) -> str:
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(_TOKEN_BYTES))
    return read_token(path)


def read_token(path: Path) -> str:
    """Return the token that callers must know.

    Raises:
        ConfigError: there is a file, and it holds no token.
    """
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read: {error}") from error
    if len(token) < _TOKEN_CHARACTERS:
        raise ConfigError(f"{path} holds no token of at least {_TOKEN_CHARACTERS} characters")
    return token


def _address(text: str) -> Address:
    """Read ``host:port`` or ``[v6]:port``."""
    refused = argparse.ArgumentTypeError(f"{text!r} is not host:port")
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise refused from error
    if not host or port is None or parts.netloc != text or "@" in text or not text.isascii():
        raise refused
    return Address(host, port)


def _retain_s(text: str) -> float:
    value_s = float(text)
    if not LEAST_S <= value_s < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not at least {LEAST_S:g} seconds")
    return value_s


def _max_bytes(text: str) -> int:
    value = int(text)
    if value < LEAST_BYTES:
        raise argparse.ArgumentTypeError(f"{text} is not at least {LEAST_BYTES} bytes")
    return value
