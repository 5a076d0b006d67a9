"""A whole supervisor with TLS on every listener, its true workers, and clients that verify what they are shown."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import ssl
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from deploy.commands.running_mesh import NotReachable, Target, ask
from gateway.control.config import SupervisorConfig
from gateway.control.runtime_file import RunningMesh
from gateway.control.supervisor import supervise
from tests.certificates import Authority, Issued, client_context
from tests.demo_policies import lay_out_digits
from tests.fakes.told import Told

AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.server("mesh.example"), AUTHORITY.server("mesh.example", "second.example")
OPERATOR = AUTHORITY.client("ops", uris=["spiffe://corp/ops"])
CALLER = AUTHORITY.client("demo", uris=["spiffe://corp/demo"])
KEY = "msk_of_demo"

Story = Callable[["SecuredMesh"], Coroutine[None, None, None]]


class SecuredMesh:
    """A supervisor with TLS; callers of both APIs may show certificates."""

    def __init__(self, root: Path) -> None:
        self.told = Told()
        self.policies, self.state, self.root = root / "policies", root / "s", root
        FIRST.write(root / "tls.crt", root / "tls.key")
        (root / "ca.crt").write_bytes(AUTHORITY.pem)
        lay_out_digits(self.policies)
        places = f'    tls: {{cert: "file:{root}/tls.crt", key: "file:{root}/tls.key"}}\n'
        certs = f'    client_certs: {{mode: optional, ca: "file:{root}/ca.crt", tenant_from: san-uri}}\n'
        (self.policies / "mesh.yaml").write_text(
            "kind: mesh/v1\nname: secured\nlisten:\n"
            f"  - address: 127.0.0.1:0\n{places}{certs}"
            f"  - address: 127.0.0.1:0\n    serves: admin\n{places}{certs}"
            f"  - address: 127.0.0.1:0\n    serves: metrics\n{places}"
            "admin:\n  roles:\n"
            '    - {name: ops, subjects: ["san:spiffe://corp/ops"], may: [status.read]}\n'
        )
        tenant = self.policies / "tenants" / "secured.yaml"
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        tenant.write_text(
            "kind: tenant/v1\nname: secured\nowner: us\ntier: demo\nmay_call: [digits]\n"
            f'keys:\n  - {{id: secured-1, sha256: "{digest}", scopes: [infer]}}\n'
            'certificates: ["spiffe://corp/demo"]\n'
        )

    def running(self) -> RunningMesh:
        return msgspec.json.decode((self.state / "mesh.json").read_bytes(), type=RunningMesh)

    def target(self) -> Target:
        running = self.running()
        return Target(running.management, running.token, running.certificate)

    async def get(self, url: str, key: str = "", issued: Issued | None = None) -> httpx.Response:
        """GET as a client that believes the authority, and nothing else."""
        context = client_context(AUTHORITY, issued, self.root)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            return await client.get(url, headers=headers)

    async def serve(self, story: Story) -> None:
        """Run a supervisor with its true workers, play the story once it accepts, and cut its lifeline."""
        reads, writes = os.pipe()
        config = SupervisorConfig(
            policies=self.policies,
            state=self.state,
            workers=1,
            runtime_file=self.root / "run" / "mesh.json",
            lifeline_fd=reads,
        )
        try:
            async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
                supervisor = tasks.create_task(supervise(config, self.told))
                try:
                    accepts = tasks.create_task(self.told.line("accepts requests"))
                    await asyncio.wait([accepts, supervisor], return_when=asyncio.FIRST_COMPLETED)
                    if accepts.done():
                        await story(self)
                    accepts.cancel()
                finally:
                    os.close(writes)
        finally:
            os.close(reads)


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredMesh]:
    interrupt = signal.getsignal(signal.SIGINT)  # ignored by a supervisor with a lifeline
    yield SecuredMesh(tmp_path_factory.mktemp("t"))
    signal.signal(signal.SIGINT, interrupt)


def shown_at(url: str) -> bytes:
    """Return the certificate that a listener shows now, without believing anything."""
    place = httpx.URL(url)
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((place.host, place.port or 443)))


def der(issued: Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.cert.decode())


def test_every_listener_speaks_tls_and_each_caller_is_who_its_credential_says(mesh: SecuredMesh) -> None:
    async def story(mesh: SecuredMesh) -> None:
        running = mesh.running()
        urls = (running.inference, running.management, running.metrics)
        assert all(url.startswith("https://127.0.0.1:") for url in urls)
        for url in urls:
            assert (await mesh.get(f"{url}/livez")).status_code == 200
        # The inference API: a key, a certificate, a certificate of nobody here, nothing.
        told = [
            (await mesh.get(f"{running.inference}/me", key, issued)).status_code
            for key, issued in ((KEY, None), ("", CALLER), ("", OPERATOR), ("", None))
        ]
        assert told == [200, 200, 401, 401]
        # The management API: the certificate has the role that names it, and no other.
        status, policy, stranger, nobody = [
            (await mesh.get(f"{running.management}{path}", "", issued))
            for path, issued in (
                ("/admin/status", OPERATOR),
                ("/admin/policy", OPERATOR),
                ("/admin/status", CALLER),
                ("/admin/status", None),
            )
        ]
        assert [reply.status_code for reply in (status, policy, stranger, nobody)] == [200, 403, 403, 401]
        assert (await mesh.get(f"{running.metrics}/metrics")).status_code == 200

    asyncio.run(mesh.serve(story))


def test_commands_of_this_machine_believe_the_published_certificate_and_no_other(mesh: SecuredMesh) -> None:
    async def story(mesh: SecuredMesh) -> None:
        target = mesh.target()
        assert b'"mesh":"secured"' in await asyncio.to_thread(ask, target, "/admin/status")
        for certificate in ("", SECOND.cert.decode(), AUTHORITY.client().cert.decode()):
            other = Target(target.server, target.token, certificate)
            with pytest.raises(NotReachable, match="certificate"):
                await asyncio.to_thread(ask, other, "/admin/status")
        OPERATOR.write(mesh.root / "ops.pem", mesh.root / "ops.key")
        (mesh.root / "ops.pem").write_bytes(OPERATOR.cert + OPERATOR.key)
        by_certificate = Target(target.server, "", "", mesh.root / "ca.crt", mesh.root / "ops.pem")
        assert b'"mesh":"secured"' in await asyncio.to_thread(ask, by_certificate, "/admin/status")

    asyncio.run(mesh.serve(story))


def test_a_replaced_certificate_is_shown_and_a_broken_one_is_kept_out_even_by_a_new_worker(mesh: SecuredMesh) -> None:
    async def story(mesh: SecuredMesh) -> None:
        running = mesh.running()
        urls = (running.inference, running.management, running.metrics)
        SECOND.write(mesh.root / "tls.crt", mesh.root / "tls.key")
        for url in urls:
            await mesh.told.line(f"{url.removeprefix('https://')} shows another certificate")
        async with asyncio.timeout(20):
            while [await asyncio.to_thread(shown_at, url) for url in urls] != [der(SECOND)] * 3:
                pass  # each look takes a handshake
        assert mesh.running().certificate.encode() == SECOND.cert
        assert b'"mesh":"secured"' in await asyncio.to_thread(ask, mesh.target(), "/admin/status")
        (mesh.root / "tls.key").write_bytes(FIRST.key)
        await mesh.told.line("the key is not the certificate's; it shows the certificate that it had")
        status = msgspec.json.decode(await asyncio.to_thread(ask, mesh.target(), "/admin/status"))
        os.kill(status["workers"][0]["pid"], signal.SIGKILL)
        await mesh.told.line("replaced in")
        assert [await asyncio.to_thread(shown_at, url) for url in urls] == [der(SECOND)] * 3
        assert (await mesh.get(f"{running.inference}/me", KEY)).status_code == 200

    asyncio.run(mesh.serve(story))
