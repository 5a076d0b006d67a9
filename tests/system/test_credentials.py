"""Keys and tokens in a true mesh: changed without a gap, revoked in every worker, verified while the issuer is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.demo_policies import lay_out_digits
from tests.fakes.issuer import URL, Issuer, SigningKey, claims
from tests.fakes.jwks import JwksServer
from tests.system.conftest import Figure
from tests.system.mesh import SOON_S, MeshUnderTest, eventually, running_mesh

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_REVOKED_WITHIN_S = 2.0
# So many new connections reach every worker of two.
_CONNECTIONS = 24
_AUTH = """
auth:
  jwt:
    - name: corp
      issuer: {issuer}
      audiences: [penstock]
      algorithms: [ES256]
      jwks: {{url: "{url}", refresh: 10s}}
      tenant_from: claim:tenant_id
      scopes_from: claim:scope
"""
_TENANT = """
kind: tenant/v1
name: nightly
owner: demo-team
tier: batch
jwt: {{issuer: corp, tenant_id: ads-prod}}
keys:
{keys}
may_call: [digits]
"""


@contextmanager
def issuing(issuer: Issuer) -> Iterator[JwksServer]:
    """Serve an issuer's keys from a thread of their own."""
    loop = asyncio.new_event_loop()
    serving = threading.Thread(target=loop.run_forever)
    serving.start()
    server = JwksServer(issuer.jwks())
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        serving.join()
        loop.close()


def penstock_key(mesh: MeshUnderTest | None, *arguments: str) -> str:
    """Run ``penstock key`` and return what it prints."""
    state = [] if mesh is None else ["--state", str(mesh.state)]
    command = [str(Path(sys.executable).with_name("penstock")), "key", *arguments, *state]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def new_key(id_: str) -> tuple[str, str]:
    """Return a new key and the lines for its tenant's file, as the command prints them."""
    key, *lines = penstock_key(None, "new", "--tenant", "nightly", "--id", id_).splitlines()
    return key, "\n".join(line for line in lines if line.startswith("  "))


def me(mesh: MeshUnderTest, credential: str) -> httpx.Response:
    """Ask over a new connection, which any worker may take."""
    headers = {"authorization": f"Bearer {credential}"}
    # To read the certificates of the world for each call would take longer than all that is measured here.
    return httpx.get(f"{mesh.inference}/me", headers=headers, trust_env=False, timeout=SOON_S, verify=False)  # noqa: S501 - there is no TLS


def everywhere(mesh: MeshUnderTest, credential: str, status: int) -> Callable[[], bool]:
    return lambda: all(me(mesh, credential).status_code == status for _ in range(_CONNECTIONS))


def kill_workers(mesh: MeshUnderTest) -> None:
    """Kill one after the other, and wait for its successor."""
    restarts = mesh.admin("status")["worker_restarts"]
    for killed, worker in enumerate(mesh.admin("status")["workers"], start=1):
        os.kill(worker["pid"], signal.SIGKILL)
        eventually(lambda: mesh.admin("status")["worker_restarts"] == restarts + killed, "it is replaced")  # noqa: B023 - called at once
        eventually(lambda: mesh.admin("status")["readiness"]["is_ready"], "its successor accepts")


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer([SigningKey("first", "ES256")])


@pytest.fixture(scope="module")
def jwks(issuer: Issuer) -> Iterator[JwksServer]:
    with issuing(issuer) as server:
        yield server


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path, jwks: JwksServer) -> Iterator[MeshUnderTest]:
    home = tmp_path_factory.mktemp("keys")
    lay_out_digits(home / "usual")
    text = (home / "usual" / "mesh.yaml").read_text() + _AUTH.format(issuer=URL, url=jwks.url)
    files = {"mesh.yaml": text, "tenants/nightly.yaml": _TENANT.format(keys=new_key("spare")[1])}
    with running_mesh(home, model_store, policies=files) as mesh:
        yield mesh


def token(key: SigningKey, **changes: Any) -> str:
    now_s = time.time()
    return key.token(claims(**({"exp": now_s + 600, "nbf": now_s - 10, "iat": now_s - 10} | changes)))


def test_a_key_is_added_beside_another_and_revoked_in_every_worker_at_once(mesh: MeshUnderTest, figure: Figure) -> None:
    (old, old_lines), (new, new_lines) = new_key("old"), new_key("new")
    path = mesh.policies / "tenants" / "nightly.yaml"
    path.with_suffix(".tmp~").write_text(_TENANT.format(keys=f"{old_lines}\n{new_lines}"))
    path.with_suffix(".tmp~").replace(path)
    eventually(everywhere(mesh, old, 200), "the old key works in every worker")
    assert me(mesh, new).json()["tenant"] == "nightly"
    penstock_key(mesh, "revoke", "old", "--reason", "it was in a chat")
    revoked_s = time.monotonic()
    asked_s = 0.0

    def is_refused_everywhere() -> bool:
        nonlocal asked_s
        asked_s = time.monotonic()  # from then on nobody let it in; how long the asking takes is the client's time
        return everywhere(mesh, old, 401)()

    eventually(is_refused_everywhere, "the old key is refused by every worker")
    took_s = asked_s - revoked_s
    assert me(mesh, old).json()["reason"] == "key_revoked"
    assert me(mesh, new).status_code == 200
    figure("a revoked key is refused by every worker after", f"{took_s:.2f} s")
    assert took_s < _REVOKED_WITHIN_S
    kill_workers(mesh)
    assert everywhere(mesh, old, 401)()
    assert everywhere(mesh, new, 200)()


def test_the_list_tells_the_state_and_the_last_use(mesh: MeshUnderTest) -> None:
    def keys() -> dict[str, dict[str, Any]]:
        return {one["id"]: one for one in json.loads(penstock_key(mesh, "list", "--json"))["keys"]}

    eventually(lambda: keys()["new"]["last_used_at"], "the use of the new key is known")
    listed = keys()
    assert (listed["old"]["state"], listed["new"]["state"]) == ("revoked", "active")
    assert listed["old"]["revocation"]["reason"] == "it was in a chat"


def test_tokens_are_verified_and_their_keys_change_without_a_restart(
    mesh: MeshUnderTest, issuer: Issuer, jwks: JwksServer
) -> None:
    first, second = issuer.keys[0], SigningKey("second", "ES256")
    eventually(everywhere(mesh, token(first), 200), "tokens are verified in every worker")
    told = me(mesh, token(first)).json()
    assert (told["tenant"], told["credential"]["id"]) == ("nightly", "jwt:corp:robot@ads")
    assert me(mesh, token(second)).json()["reason"] == "token_refused"
    jwks.jwks = Issuer([first, second]).jwks()
    eventually(everywhere(mesh, token(second), 200), "tokens of the new key are verified")
    jwks.turn = "error"
    mesh.said.line("the keys of the issuer corp cannot be fetched")
    assert everywhere(mesh, token(first), 200)()
