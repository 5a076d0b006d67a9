"""Every endpoint of the management API by every method, path and credential, against a table that is checked in."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from policies.permissions import PERMISSIONS
from tests.gateway.control.test_supervisor import Mesh
from tests.security.hosts import MALFORMED_HOSTS
from tests.security.wire import METHODS, Reply, new_source, request, send, variants

TABLE = tomllib.loads(Path(__file__).with_name("admin_routes.toml").read_text())["endpoint"]
# What stands for a part of a path that names something.
NAMES = {
    "key_id": "plain",
    "tenant": "demo",
    "quota": "none",
    "grant_id": "none",
    "request_id": "none",
    "model": "none",
    "shadow": "none",
    "number": "1",
}
CLOSED = ("none", "wrong", "expired", "early")
_DATES = {"expired": "not_after: 2020-01-01T00:00:00Z", "early": "not_before: 2999-01-01T00:00:00Z"}


@dataclass(frozen=True)
class Endpoint:
    """One row of the table."""

    method: str
    path: str
    needs: str = ""
    open: bool = False
    answers: int = 200

    @property
    def target(self) -> str:
        """The path with every name filled in."""
        path = self.path
        for name, value in NAMES.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, path
        return path

    def takes(self, target: str) -> bool:
        """Whether a path, without its query, is one of this endpoint's."""
        return re.fullmatch(re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(self.path)), target) is not None

    @property
    def right(self) -> str:
        """The id of a key that may do this and nothing else."""
        return f"only-{self.needs}".replace(".", "-") if self.needs else "only-policy-read"

    @property
    def lower(self) -> str:
        """The id of a key that may do everything but this; one without a role where any is enough."""
        return f"not-{self.needs}".replace(".", "-") if self.needs else "plain"


ENDPOINTS = [Endpoint(**row) for row in TABLE]


def key_of(id_: str) -> str:
    return f"secret of {id_}".replace(" ", "_")


def key_line(id_: str) -> str:
    digest = hashlib.sha256(key_of(id_).encode()).hexdigest()
    dates = f", {_DATES[id_]}" if id_ in _DATES else ""
    return f'  - {{id: {id_}, sha256: "{digest}", scopes: [infer]{dates}}}\n'


def lay_out_roles(policies: Path) -> None:
    """Add to the policies a key for each permission alone, and one for all the others."""
    roles, ids = [], ["plain", "expired", "early"]
    for permission in PERMISSIONS:
        name = permission.replace(".", "-")
        others = ", ".join(other for other in PERMISSIONS if other != permission)
        for id_, may in ((f"only-{name}", permission), (f"not-{name}", others)):
            ids.append(id_)
            roles.append(f'    - {{name: {id_}, subjects: ["key:{id_}"], may: [{may}]}}\n')
    mesh = policies / "mesh.yaml"
    mesh.write_text(f"{mesh.read_text()}admin:\n  roles:\n{''.join(roles)}")
    keys = "".join(map(key_line, ids))
    tier = "demo"
    (policies / "tenants" / "operators.yaml").write_text(
        f"kind: tenant/v1\nname: operators\nowner: us\ntier: {tier}\nmay_call: [digits]\nkeys:\n{keys}"
    )


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    interrupt = signal.getsignal(signal.SIGINT)
    mesh = Mesh(tmp_path_factory.mktemp("a"))
    lay_out_roles(mesh.policies)
    yield mesh
    signal.signal(signal.SIGINT, interrupt)


@pytest.fixture(scope="module")
def served(mesh: Mesh) -> Iterator[tuple[asyncio.Runner, str, str]]:
    """A supervisor whose loop runs while a test sends; its URL and its admin token."""
    with asyncio.Runner() as runner:
        ready, over = asyncio.Event(), asyncio.Event()

        async def story(_: Mesh) -> None:
            ready.set()
            await over.wait()

        async def begin() -> asyncio.Task[None]:
            task = asyncio.create_task(mesh.serve(story, within_s=None))  # as long as this file's tests take
            waiting = asyncio.create_task(ready.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            assert ready.is_set(), mesh.told.lines
            return task

        async def end() -> None:
            over.set()
            await task

        task = runner.run(begin())
        running = mesh.running()
        yield runner, running.management, running.token
        runner.run(end())


Served = tuple[asyncio.Runner, str, str]


def ask(served: Served, *requests: bytes) -> list[Reply]:
    """Send each request by itself, one after the other."""
    runner, url, _ = served

    async def each() -> list[Reply]:
        return [await send(url, one, new_source()) for one in requests]

    return runner.run(each())


def credential(served: Served, endpoint: Endpoint, who: str) -> str:
    """Return the key that somebody of this class shows; "" for none."""
    ids = {"plain": "plain", "expired": "expired", "early": "early", "lower": endpoint.lower, "right": endpoint.right}
    return {"none": "", "wrong": "msk_of_nobody", "local": served[2]}.get(who) or (
        key_of(ids[who]) if who in ids else ""
    )


def test_the_table_has_every_endpoint_and_nothing_else(served: Served) -> None:
    (reply,) = ask(served, request("GET", "/openapi.json", served[2]))
    paths = json.loads(reply.body)["paths"]
    found = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert found == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


def test_every_permission_is_needed_somewhere_or_is_not_one() -> None:
    assert {endpoint.needs for endpoint in ENDPOINTS} - {""} <= set(PERMISSIONS)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_each_endpoint_answers_each_credential_as_the_table_says(endpoint: Endpoint, served: Served) -> None:
    classes = (*CLOSED, "plain", "lower", "right", "local")
    replies = ask(
        served,
        *(request(endpoint.method, endpoint.target, credential(served, endpoint, who)) for who in classes),
    )
    told = {who: reply.status for who, reply in zip(classes, replies, strict=True)}
    if endpoint.open:
        assert set(told.values()) == {endpoint.answers}
        return
    assert told == dict.fromkeys(CLOSED, 401) | {
        "plain": 403,
        "lower": 403,
        "right": endpoint.answers,
        "local": endpoint.answers,
    }
    by_who = dict(zip(classes, replies, strict=True))
    assert by_who["lower"].reason == "permission_missing"
    assert (endpoint.needs or "a role") in by_who["lower"].body.decode()


@pytest.mark.parametrize("path", sorted({endpoint.target for endpoint in ENDPOINTS}))
def test_no_other_method_does_anything(path: str, served: Served) -> None:
    own = {endpoint.method for endpoint in ENDPOINTS if endpoint.takes(path)}
    is_open = any(endpoint.open for endpoint in ENDPOINTS if endpoint.target == path)
    others = [method for method in METHODS if method not in own]
    for key, expected in (("", {401, 405} if is_open else {401}), (key_of("plain"), {405}), (served[2], {405})):
        replies = ask(served, *(request(method, path, key) for method in others))
        assert {reply.status for reply in replies} <= expected | {400}, list(zip(others, replies, strict=True))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_no_other_spelling_is_less_protected(endpoint: Endpoint, served: Served) -> None:
    if endpoint.open:
        return
    targets = variants(endpoint.target)
    for who, refused in (("none", {401}), ("wrong", {401}), ("lower", {403, 404, 405})):
        key = credential(served, endpoint, who)
        replies = ask(served, *(request(endpoint.method, target, key) for target in targets))
        for target, reply in zip(targets, replies, strict=True):
            # Some of them are the open path by another spelling, which is what an open path is.
            is_open = target.partition("?")[0] == "/livez" and reply.status in (200, 405)
            assert is_open or reply.status in refused | {400}, (who, target, reply)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_no_header_names_another_path_or_method(endpoint: Endpoint, served: Served) -> None:
    if endpoint.open:
        return
    fields = (
        "X-Original-URL: /livez",
        "X-Rewrite-URL: /livez",
        "X-Forwarded-Prefix: /livez",
        "X-HTTP-Method-Override: GET",
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "X-Penstock-Actor: local",
    )
    for field in fields:
        denied, lower = ask(
            served,
            request(endpoint.method, endpoint.target, "", "127.0.0.1", field),
            request(endpoint.method, endpoint.target, key_of(endpoint.lower), "127.0.0.1", field),
        )
        assert (denied.status, lower.status) == (401, 403), field


@pytest.mark.parametrize("host", MALFORMED_HOSTS)
def test_a_malformed_host_is_refused_before_anything_is_routed(host: str, served: Served) -> None:
    targets = ("/admin/policy", "/livez", "/nope")
    raw = host.encode("utf-8").decode("latin-1")
    replies = ask(served, *(request("GET", target, served[2], raw) for target in targets))
    assert {reply.status for reply in replies} == {400}


def test_one_host_is_sent_and_no_other(served: Served) -> None:
    good = request("GET", "/admin/policy", served[2])
    none, empty, two = (good.replace(b"Host: 127.0.0.1\r\n", host) for host in (b"", b"Host:\r\n", b"Host: a\r\n" * 2))
    assert [reply.status for reply in ask(served, good, none, empty, two)] == [200, 400, 400, 400]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "10.0.0.1", "0"])
def test_a_name_that_leads_here_and_is_not_ours_is_refused_even_with_the_token(host: str, served: Served) -> None:
    (reply,) = ask(served, request("GET", "/admin/policy", served[2], host))
    assert (reply.status, reply.reason) == (403, "host_not_allowed")


@pytest.mark.parametrize(
    "field",
    [
        "Origin: https://evil.example",
        "Origin: http://127.0.0.1",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: ",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_a_web_page_is_refused_even_with_the_token(field: str, method: str, served: Served) -> None:
    (reply,) = ask(served, request(method, "/admin/policy", served[2], "127.0.0.1", field))
    assert (reply.status, reply.reason) == (403, "foreign_origin")
    assert "access-control" not in reply.head.lower()
