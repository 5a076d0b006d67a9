"""``penstock trace``: shows the life of one request, or a list of them, as the hub has it."""

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

from deploy.commands.numbers import number
from deploy.commands.running_mesh import TOKEN_VARIABLE, NotReachable, given_token
from deploy.commands.trace_list import ListReport, add_filters, describe, query_of
from deploy.commands.waterfall import TraceReport, draw, is_whole, plain, plain_json
from deploy.local.hub import HUB_FILE, HUB_TOKEN, running_hub
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

    def trace(self, wanted: str, form: str = "") -> bytes:
        """Return the trace as JSON, OTLP's where ``form`` is "otlp".

        Raises:
            NotThere: the hub does not have it.
            NotReachable: the hub does not answer, or refuses.
        """
        return self._get(f"/api/traces/{quote(wanted, safe='')}", {"form": form} if form else {})

    def traces(self, query: Mapping[str, str]) -> bytes:
        """Return a list of traces as JSON.

        Raises:
            NotReachable: the hub does not answer, or refuses.
        """
        try:
            return self._get("/api/traces", query)
        except NotThere as error:
            raise self._no_hub() from error

    def _get(self, path: str, query: Mapping[str, str]) -> bytes:
        try:
            response = self._client.get(f"{self._url}{path}", params=query)
        except httpx.ReadTimeout as error:
            raise NotReachable(
                f"the hub at {self._url} listens but does not answer within {TIMEOUT_S:g} s: stopped or overloaded?"
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotReachable(f"the hub at {self._url} does not answer ({error}): is the mesh running?") from error
        if response.status_code == 404:
            # A hub says what it does not have; what else listens there, a gateway say, knows no traces at all.
            if not _sentence(response):
                raise self._no_hub()
            raise NotThere
        if response.status_code == 401:
            raise NotReachable(f"the hub at {self._url} wants its token: give --token-file, or set {TOKEN_VARIABLE}")
        if response.status_code != 200:
            told = _sentence(response) or plain(response.text[:300])
            raise NotReachable(f"the hub at {self._url} answers {response.status_code}: {told}")
        return response.content

    def _no_hub(self) -> NotReachable:
        return NotReachable(f"what answers at {self._url} is no hub: --hub names the address of the mesh's pages")


def _sentence(response: httpx.Response) -> str:
    """Return the sentence by which a hub refuses; "" where it is none that answers."""
    try:
        return plain(str(msgspec.json.decode(response.content, type=dict[str, object])["error"])[:300])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return ""


def run(arguments: Sequence[str]) -> int:
    """Print the trace; 0 when it is there, 1 when it is not or the hub cannot be asked."""
    if arguments[:1] == ["list"]:
        return _run_list(arguments[1:])
    options = _parser().parse_args(arguments[1:] if arguments[:1] == ["show"] else arguments)
    try:
        hub = _find(options, os.environ, Path.home())
        body, trace = _wait_for(hub, options.id, options.wait)
        if options.otlp:
            body = hub.trace(options.id, "otlp")
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
    if options.json or options.otlp:
        _print_json(body)
    else:
        print(draw(trace, _bar(sys.stdout.encoding)))
    return 0


def _run_list(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="penstock trace list", description="Show traces that are kept, newest first.")
    add_filters(parser)
    _add_hub(parser)
    options = parser.parse_args(arguments)
    try:
        body = _find(options, os.environ, Path.home()).traces(query_of(options))
        found = msgspec.json.decode(body, type=ListReport)
    except NotReachable as error:
        print(f"penstock trace: {error}", file=sys.stderr)
        return 1
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        print(f"penstock trace: the hub answers in another shape ({error}): is it the same version?", file=sys.stderr)
        return 1
    if options.json:
        _print_json(body)
    else:
        print(describe(found))
    return 0


def _print_json(body: bytes) -> None:
    """A program gets what the hub said; a terminal what it can be shown."""
    print(plain_json(body.decode()) if sys.stdout.isatty() else body.decode())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock trace",
        description="Show where one request's time went, and in which batch.",
        epilog="`penstock trace list --help` finds traces; `penstock trace show list` is for a request of that id.",
    )
    parser.add_argument(
        "id",
        type=_id,
        metavar="ID",
        help="a request's id (x-request-id of its answer), or a trace's (32 hex digits), or its first 8 or more",
    )
    parser.add_argument("--wait", type=_wait_s, default=5.0, metavar="S", help="for it to be there, and whole (5)")
    parser.add_argument("--otlp", action="store_true", help="print it and its batches as OTLP's JSON")
    _add_hub(parser)
    return parser


def _add_hub(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--state", type=Path, metavar="DIR", help="state directory of the mesh; default: this user's mesh"
    )
    where.add_argument("--hub", metavar="URL", help="the hub's pages, where no state directory is at hand")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=f"the hub's token; or set {TOKEN_VARIABLE}")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _find(options: argparse.Namespace, environ: Mapping[str, str], home: Path) -> Hub:
    if options.hub is not None:
        return Hub(options.hub, given_token(options.token_file, environ))
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
    return Hub(hub.dashboards, given_token(options.token_file, environ) or _own_token(state))


def _own_token(state: Path) -> str:
    """Return the token that the mesh's own hub asks for; "" where it asks for none, or it is not ours to read."""
    try:
        return (state / HUB_TOKEN).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


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
    return number(text, 0.0, LONGEST_WAIT_S, "seconds")


def _id(text: str) -> str:
    """An empty one, as of a variable of the shell that is not set, need not be waited for."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: name a request or a trace; `penstock trace list` has some")
    return text


def _bar(encoding: str | None) -> str:
    """Return what bars are made of where this encoding is written."""
    try:
        "█".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#"
    return "█"
