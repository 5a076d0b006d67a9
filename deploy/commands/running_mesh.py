"""Finds the running mesh and asks its management API."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import msgspec

from gateway.control.runtime_file import FILE_NAME, read_running, runtime_path

TOKEN_VARIABLE = "PENSTOCK_TOKEN"  # noqa: S105 - the variable's name
TIMEOUT_S = 10.0

Report = TypeVar("Report")


class NotReachable(Exception):
    """The mesh cannot be asked; the message is a sentence with the fix."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask, and as whom."""

    server: str
    token: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that asks the running mesh."""
    mesh = parser.add_mutually_exclusive_group()
    mesh.add_argument(
        "--state", type=Path, metavar="DIR", help="state directory of the mesh; default: this user's mesh"
    )
    mesh.add_argument("--server", metavar="URL", help="its management API, where no state directory is at hand")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=f"its admin token; or set {TOKEN_VARIABLE}")
    parser.add_argument("--json", action="store_true", help="print JSON")


def find(options: argparse.Namespace, environ: Mapping[str, str], home: Path) -> Target:
    """Return the mesh that the arguments name, else the one that this user runs.

    The running mesh's token is sent to that mesh alone, never to another server.

    Raises:
        NotReachable: there is none, or its token is not known.
    """
    token = _given_token(options.token_file, environ)
    path = runtime_path(environ, home) if options.state is None else options.state / FILE_NAME
    running = read_running(path)
    if options.server is None:
        if running is None or not running.management:
            raise NotReachable(
                f"no mesh is running ({path} names none): start one with `penstock up`, or name one with --state"
            )
        return Target(running.management, token or running.token)
    server = options.server.rstrip("/")
    if not token and running is not None and running.management == server:
        token = running.token
    if not token:
        raise NotReachable(
            f"no token for {server}: give --token-file STATE/admin-token, where STATE is that mesh's state directory, "
            f"or set {TOKEN_VARIABLE}"
        )
    return Target(server, token)


def _given_token(path: Path | None, environ: Mapping[str, str]) -> str:
    if path is None:
        return environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotReachable(f"the token file {path} cannot be read: {error}") from error


def ask(target: Target, path: str) -> bytes:
    """GET a path of the management API and return the JSON body.

    Raises:
        NotReachable: it does not answer, or refuses.
    """
    headers = {"authorization": f"Bearer {target.token}"}
    try:
        # Proxies of the environment are for the outer world; the token must not pass through one.
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            response = client.get(f"{target.server}{path}", headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotReachable(
            f"{target.server} does not answer ({error}): is the mesh running? See `penstock up`"
        ) from error
    if response.status_code == 401:
        raise NotReachable(f"{target.server} does not know the token: give --token-file, or set {TOKEN_VARIABLE}")
    if response.status_code != 200:
        raise NotReachable(f"{target.server}{path} answers {response.status_code}: {response.text[:300]}")
    return response.content


def read(target: Target, path: str, kind: type[Report]) -> Report:
    """GET a path of the management API as a typed report; fields it does not know are ignored.

    Raises:
        NotReachable: it does not answer, refuses, or answers something else.
    """
    return decoded(target, path, ask(target, path), kind)


def decoded(target: Target, path: str, answer: bytes, kind: type[Report]) -> Report:
    """Return what a path of the management API answered as a typed report, as ``read`` does.

    Raises:
        NotReachable: it is something else.
    """
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotReachable(
            f"{target.server}{path} answers in another shape ({error}): is it the same version?"
        ) from error
