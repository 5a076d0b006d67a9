"""Finds the running mesh and asks its management API."""

from __future__ import annotations

import argparse
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

from gateway.control.runtime_file import FILE_NAME, read_running, runtime_path
from telemetry.pinned_tls import pinned_context

TOKEN_VARIABLE = "PENSTOCK_TOKEN"  # noqa: S105 - the variable's name
CA_VARIABLE = "PENSTOCK_CA"
CERT_VARIABLE = "PENSTOCK_CERT"
TIMEOUT_S = 10.0

Report = TypeVar("Report")


class NotReachable(Exception):
    """The mesh cannot be asked; the message is a sentence with the fix."""


class NotAllowed(NotReachable):
    """Whoever asks may not."""


class NotThere(NotReachable):
    """The mesh does not have what was asked for."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask, and as whom.

    Attributes:
        token: "" where a client certificate says who asks.
        certificate: the one that the server shows, as PEM; "" believes authorities.
        ca: file of the authorities that are believed; None for those of this machine.
        client_certificate: file with our own certificate and its key.
    """

    server: str
    token: str = field(repr=False)
    certificate: str = ""
    ca: Path | None = None
    client_certificate: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes that asks the running mesh."""
    mesh = parser.add_mutually_exclusive_group()
    mesh.add_argument(
        "--state", type=Path, metavar="DIR", help="state directory of the mesh; default: this user's mesh"
    )
    mesh.add_argument("--server", metavar="URL", help="its management API, where no state directory is at hand")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=f"its admin token; or set {TOKEN_VARIABLE}")
    parser.add_argument("--ca", type=Path, metavar="FILE", help=f"authorities of its certificate; or set {CA_VARIABLE}")
    parser.add_argument(
        "--cert", type=Path, metavar="FILE", help=f"your certificate and its key, as PEM; or set {CERT_VARIABLE}"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def find(options: argparse.Namespace, environ: Mapping[str, str], home: Path) -> Target:
    """Return the mesh that the arguments name, else the one that this user runs.

    The running mesh's token is sent to that mesh alone, never to another server.

    Raises:
        NotReachable: there is none, or its token is not known.
    """
    token = given_token(options.token_file, environ)
    ca, cert = options.ca or _path_in(environ, CA_VARIABLE), options.cert or _path_in(environ, CERT_VARIABLE)
    path = runtime_path(environ, home) if options.state is None else options.state / FILE_NAME
    running = read_running(path)
    if options.server is None:
        if running is None or not running.management:
            raise NotReachable(
                f"no mesh is running ({path} names none): start one with `penstock up`, or name one with --state"
            )
        return Target(running.management, token or running.token, running.certificate, ca, cert)
    server = options.server.rstrip("/")
    if running is not None and running.management == server:
        return Target(server, token or running.token, running.certificate, ca, cert)
    if not token and cert is None:
        raise NotReachable(
            f"no token for {server}: give --token-file STATE/admin-token, where STATE is that mesh's state directory, "
            f"or set {TOKEN_VARIABLE}"
        )
    return Target(server, token, "", ca, cert)


def _path_in(environ: Mapping[str, str], variable: str) -> Path | None:
    return Path(environ[variable]) if environ.get(variable) else None


def given_token(path: Path | None, environ: Mapping[str, str]) -> str:
    """Return the token that the file holds, else the environment; "" where neither was given.

    Raises:
        NotReachable: what was given cannot be read, or is no token.
    """
    if path is None:
        token, where = environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
    else:
        try:
            token, where = path.read_bytes().decode("latin-1").strip(), f"the token file {path}"
        except OSError as error:
            raise NotReachable(f"the token file {path} cannot be read: {error.strerror or error}") from error
        if not token:
            # Another token than the one that was meant must not be used in its place.
            raise NotReachable(f"the token file {path} is empty: write the token into it, or leave --token-file out")
    if not all("!" <= character <= "~" for character in token):
        raise NotReachable(f"{where} holds no token: a token is one word of visible ASCII characters")
    return token


def ask(target: Target, path: str) -> bytes:
    """GET a path of the management API and return the JSON body.

    Raises:
        NotThere: it does not have that.
        NotReachable: it does not answer, or refuses.
    """
    return _answer(target, "GET", path, None)


def change(target: Target, method: str, path: str, body: object = None) -> bytes:
    """Send a change to the management API, as JSON unless there is no body, and return the JSON body of its answer.

    Raises:
        NotReachable: it does not answer, or refuses; what it says is in the message.
    """
    return _answer(target, method, path, body)


def _answer(target: Target, method: str, path: str, body: object) -> bytes:
    headers = {"authorization": f"Bearer {target.token}"} if target.token else {}
    verify = _context(target)
    try:
        # Proxies of the environment are for the outer world; the token must not pass through one.
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False, verify=verify) as client:
            response = client.request(method, f"{target.server}{path}", headers=headers, json=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotReachable(
            f"{target.server} does not answer ({error}): is the mesh running? See `penstock up`"
        ) from error
    if response.status_code == 401:
        why = _told(response) or "it does not know it"
        another = f"another token is given with --token-file or {TOKEN_VARIABLE}"
        raise NotReachable(f"{target.server} does not let this token in: {why} ({another})")
    if response.status_code != 200:
        fault = {403: NotAllowed, 404: NotThere}.get(response.status_code, NotReachable)
        raise fault(f"{target.server}{path} answers {response.status_code}: {_told(response)}")
    return response.content


def _context(target: Target) -> ssl.SSLContext | bool:
    """Return how the server is believed; plain HTTP takes no notice."""
    if not target.server.startswith("https://"):
        return True
    try:
        is_pinned = bool(target.certificate) and target.ca is None
        context = pinned_context(target.certificate) if is_pinned else ssl.create_default_context(cafile=target.ca)
        if target.client_certificate is not None:
            context.load_cert_chain(target.client_certificate)
    except (OSError, ValueError) as error:
        raise NotReachable(f"the certificates for {target.server} cannot be used: {error}") from error
    return context


def _told(response: httpx.Response) -> str:
    """Return the sentence of a refusal, or the beginning of whatever else was answered."""
    try:
        return str(msgspec.json.decode(response.content, type=dict[str, Any])["message"])[:300]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError):
        return response.text[:300]


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
