"""``penstock trace``: shows the life of one request, as the hub has it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec

from deploy.commands.running_mesh import TOKEN_VARIABLE, NotReachable
from deploy.commands.waterfall import TraceReport, draw, is_whole, plain, plain_json
from deploy.local.hub import HUB_FILE, running_hub
from gateway.control.runtime_file import read_running, runtime_path

EVERY_S = 0.25
TIMEOUT_S = 3.0
LONGEST_WAIT_S = 600.0


class NotThere(Exception):
    """The hub has no such trace; the message is its sentence."""


class Hub:
    """Where to ask, and as whom; ``token`` is "" where none is asked for."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        # Proxies of the environment are for the outer world.
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False, headers=headers)

    def trace(self, wanted: str) -> bytes:
        """Return the trace as JSON.

        Raises:
            NotThere: the hub does not have it.
            NotReachable: the hub does not answer, or refuses.
        """
        try:
            response = self._client.get(f"{self._url}/api/traces/{quote(wanted, safe='')}")
        except httpx.ReadTimeout as error:
            raise NotReachable(
                f"the hub at {self._url} listens but does not answer within {TIMEOUT_S:g} s: stopped or overloaded?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotReachable(f"the hub at {self._url} does not answer ({error}): is the mesh running?") from error
        if response.status_code == 404:
            raise NotThere
        if response.status_code == 401:
            raise NotReachable(f"the hub at {self._url} wants its token: give --token-file, or set {TOKEN_VARIABLE}")
        if response.status_code != 200:
            raise NotReachable(f"the hub at {self._url} answers {response.status_code}: {plain(response.text)}")
        return response.content


def run(arguments: Sequence[str]) -> int:
    """Print the trace; 0 when it is there, 1 when it is not or the hub cannot be asked."""
    options = _parser().parse_args(arguments)
    try:
        body, trace = _wait_for(_find(options, os.environ, Path.home()), options.id, options.wait)
    except NotThere:
        print(
            f"penstock trace: the hub has no trace and no request {plain(options.id)}. It may not have come yet, "
            "it may be older than what is kept, or it was left out: above mesh.yaml's kept_per_s only a share is kept. "
            "A trace's id is 32 hex digits; the first 8 of an id are enough where no other begins so.",
            file=sys.stderr,
        )
        return 1
    except NotReachable as error:
        print(f"penstock trace: {error}", file=sys.stderr)
        return 1
    if options.json:
        # A program gets what the hub said; a terminal what it can be shown.
        print(plain_json(body.decode()) if sys.stdout.isatty() else body.decode())
    else:
        print(draw(trace, _bar(sys.stdout.encoding)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock trace", description="Show where one request's time went.")
    parser.add_argument(
        "id",
        metavar="ID",
        help="a request's id (x-request-id of its answer), or a trace's (32 hex digits), or its first 8 or more",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--state", type=Path, metavar="DIR", help="state directory of the mesh; default: this user's mesh"
    )
    where.add_argument("--hub", metavar="URL", help="the hub's pages, where no state directory is at hand")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=f"the hub's token; or set {TOKEN_VARIABLE}")
    parser.add_argument("--wait", type=_wait_s, default=5.0, metavar="S", help="for it to be there, and whole (5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _find(options: argparse.Namespace, environ: Mapping[str, str], home: Path) -> Hub:
    if options.hub is not None:
        return Hub(options.hub, _token(options.token_file, environ))
    state = options.state
    if state is None:
        path = runtime_path(environ, home)
        running = read_running(path)
        if running is None:
            raise NotReachable(f"no mesh is running ({path} names none): start one with `penstock up`, or name --state")
        state = Path(running.state_dir)
    hub = running_hub(state)
    if hub is None:
        raise NotReachable(
            f"no hub runs ({state / HUB_FILE} is not there): mesh.yaml must list one that serves dashboards"
        )
    return Hub(hub.dashboards, _token(options.token_file, environ))


def _token(path: Path | None, environ: Mapping[str, str]) -> str:
    if path is None:
        return environ.get(TOKEN_VARIABLE, "").strip()
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotReachable(f"the token file {path} cannot be read: {error}") from error


def _wait_for(hub: Hub, wanted: str, wait_s: float) -> tuple[bytes, TraceReport]:
    """Return the trace once it is whole, or as it is when the time is over.

    Raises:
        NotThere: nothing of it came meanwhile.
        NotReachable: the hub does not answer.
    """
    until_s = time.monotonic() + wait_s
    while True:
        is_last = time.monotonic() >= until_s
        try:
            body = hub.trace(wanted)
            trace = msgspec.json.decode(body, type=TraceReport)
            if is_last or is_whole(trace):
                return body, trace
        except NotThere:
            if is_last:
                raise
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise NotReachable(f"the hub answers in another shape ({error}): is it the same version?") from error
        time.sleep(EVERY_S)


def _wait_s(text: str) -> float:
    value_s = float(text)
    if not 0 <= value_s <= LONGEST_WAIT_S:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {LONGEST_WAIT_S:g} seconds")
    return value_s


def _bar(encoding: str | None) -> str:
    """Return what bars are made of where this encoding is written."""
    try:
        "█".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#"
    return "█"
