"""Every path of the inference API by every method, spelling and credential, against a table that is checked in."""

from __future__ import annotations

import asyncio
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.dataplane.answers import is_health_path
from gateway.decide.route import Api, match_path
from tests.fakes.pod import echo
from tests.gateway.dataplane.mesh import Mesh, in_mesh
from tests.gateway.policy import EXPIRED_KEY, KEY, PLAIN_KEY, STRANGER_KEY
from tests.security.hosts import MALFORMED_HOSTS
from tests.security.wire import METHODS, Reply, read_reply, request, variants

TABLE = tomllib.loads(Path(__file__).with_name("inference_routes.toml").read_text())


@dataclass(frozen=True)
class Row:
    """One path of the table."""

    path: str
    api: str
    methods: tuple[str, ...]
    right: int
    lower: int


# What HTTP itself refuses here, whoever asks.
NO_METHODS = ("TRACE", "CONNECT", "FOO", "get")
ROWS = [Row(**row) for row in TABLE["path"]]


async def send(mesh: Mesh, data: bytes) -> Reply:
    """Send these bytes on a connection of their own."""
    caller = await mesh.connect()
    caller.writer.write(data)
    return read_reply(await asyncio.wait_for(caller.reader.read(), 5))


def test_every_api_has_a_row_and_every_row_an_api() -> None:
    assert {row.api for row in ROWS} == set(Api)
    for row in ROWS:
        target = match_path(row.path)
        assert target is not None
        assert target.api == row.api


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_each_path_answers_each_credential_as_the_table_says(row: Row) -> None:
    async def story(mesh: Mesh) -> None:
        for method in METHODS:
            for key in ("", STRANGER_KEY, EXPIRED_KEY):
                reply = await send(mesh, request(method, row.path, key))
                refused = (400, 405) if method in NO_METHODS else (401,)
                assert reply.status in refused, (method, key, reply)
        assert not mesh.pods[0].seen
        for method in row.methods:
            told = [(await send(mesh, request(method, row.path, key))).status for key in (KEY, PLAIN_KEY)]
            assert told == [row.right, row.lower], method

    in_mesh(story, echo)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_no_other_spelling_is_less_protected(row: Row) -> None:
    async def story(mesh: Mesh) -> None:
        method = row.methods[-1]
        for target in variants(row.path):
            for key in ("", STRANGER_KEY):
                reply = await send(mesh, request(method, target, key))
                is_open = is_health_path(target.partition("?")[0]) and reply.status in (200, 500, 503)
                assert is_open or reply.status in (400, 401, 404), (target, key, reply)
            lower = await send(mesh, request(method, target, PLAIN_KEY))
            assert row.lower < 400 or lower.status >= 400 or is_health_path(target.partition("?")[0]), (target, lower)

    in_mesh(story, echo)


@pytest.mark.parametrize("path", TABLE["open"])
def test_the_open_paths_tell_of_health_and_nothing_else(path: str) -> None:
    async def story(mesh: Mesh) -> None:
        replies = [await send(mesh, request("GET", path, key)) for key in ("", STRANGER_KEY)]
        assert {reply.status for reply in replies} <= {200, 500, 503}
        for told in ("msk_", "ads", "gold", "unix:", str(mesh.path.parent)):
            assert told not in replies[0].body.decode()
        assert not mesh.pods[0].seen

    in_mesh(story, echo)


def test_no_path_beside_the_table_s_is_open() -> None:
    async def story(mesh: Mesh) -> None:
        for path in (
            "/",
            "/admin/policy",
            "/metrics",
            "/docs",
            "/openapi.json",
            "/v2/repository/models/digits/load",
            "/models",
        ):
            assert (await send(mesh, request("GET", path))).status in (401, 404), path

    in_mesh(story, echo)


@pytest.mark.parametrize("host", MALFORMED_HOSTS)
def test_a_malformed_host_is_refused_before_anything_is_routed(host: str) -> None:
    async def story(mesh: Mesh) -> None:
        raw = host.encode("utf-8").decode("latin-1")
        for path in ("/predictions/digits", "/livez"):
            assert (await send(mesh, request("POST", path, KEY, raw))).status == 400
        assert not mesh.pods[0].seen

    in_mesh(story, echo)
