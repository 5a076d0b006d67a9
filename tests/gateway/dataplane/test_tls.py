"""TLS in front of a worker's connections: true handshakes on uvloop, requests as without it, callers by certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec
import pytest

from gateway.control.messages import ShowCertificate
from gateway.dataplane import accepting
from gateway.dataplane.accepting import Acceptor, Reserve
from gateway.dataplane.credentials import NO_PEER, Peer
from gateway.dataplane.server import ClientConnection
from gateway.dataplane.tls import Door, Doors, peer_of
from gateway.tls import TlsRefused
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Bounds
from tests.certificates import Authority, Issued, client_context
from tests.fakes.pod import echo
from tests.gateway.dataplane.mesh import Caller, Mesh, in_mesh, post
from tests.gateway.policy import KEY, policy

AUTHORITY = Authority()
SERVER = AUTHORITY.server("mesh.example")
ADS = AUTHORITY.client("ads", uris=["spiffe://corp/ads"])
STRANGER = AUTHORITY.client("stranger", uris=["spiffe://corp/stranger"])
NO_KEY = b"POST /predictions/digits HTTP/1.1\r\nHost: mesh\r\nContent-Length: 2\r\n\r\n{}"


def told(fd: int, issued: Issued = SERVER, ca: bytes = b"", *, is_required: bool = False) -> ShowCertificate:
    return ShowCertificate(fd, issued.cert, issued.key, ca, is_required, "san-uri" if ca else "")


def with_certificate(bounds: Bounds | None = None) -> Snapshot:
    snapshot = policy(bounds=bounds)
    ads = msgspec.structs.replace(snapshot.tenants["ads"], certificates=("spiffe://corp/ads",))
    return msgspec.structs.replace(snapshot, tenants={"ads": ads})


class SecuredDoor:
    """A worker's only door, and the way in."""

    def __init__(self, mesh: Mesh, doors: Doors, listening: socket.socket) -> None:
        self.mesh, self.doors = mesh, doors
        self.fd = listening.fileno()
        self.port: int = listening.getsockname()[1]

    async def connect(self, client: ssl.SSLContext | None, name: str = "mesh.example") -> Caller:
        hostname = name if client is not None else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=client, server_hostname=hostname)
        self.mesh.callers.append(Caller(reader, writer))
        return self.mesh.callers[-1]


@asynccontextmanager
async def door(mesh: Mesh, first: ShowCertificate | None = None) -> AsyncIterator[SecuredDoor]:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        doors = Doors([], [listening])
        shown = msgspec.structs.replace(first or told(0), listen_fd=listening.fileno())
        doors.show(shown)
        (opened,) = doors.take_shut()
        reserve = Reserve()
        make_protocol = partial(ClientConnection, mesh.gateway, opened.identity_from)
        acceptor = Acceptor(loop, opened, make_protocol, reserve, bytes)
        try:
            yield SecuredDoor(mesh, doors, listening)
        finally:
            acceptor.close()
            reserve.close()


def certificate_of(caller: Caller) -> bytes | None:
    secured: ssl.SSLObject = caller.writer.get_extra_info("ssl_object")
    return secured.getpeercert(binary_form=True)


def der(issued: Issued) -> bytes:
    return ssl.PEM_cert_to_DER_cert(issued.cert.decode())


def test_requests_are_answered_over_tls_one_after_the_other_on_one_connection() -> None:
    async def story(mesh: Mesh) -> None:
        async with door(mesh) as secured:
            caller = await secured.connect(client_context(AUTHORITY))
            for size in (2, 300_000, 5):
                caller.writer.write(post(body=b"x" * size))
                answer = await caller.answer()
                assert (answer.status, len(mesh.pods[0].seen[-1].body)) == (200, size)
            caller.writer.write(post(key="msk_of_nobody"))
            assert (await caller.answer()).status == 401

    in_mesh(story, echo)


def test_a_body_that_is_too_large_is_refused_over_tls_while_it_still_comes() -> None:
    async def story(mesh: Mesh) -> None:
        async with door(mesh) as secured:
            caller = await secured.connect(client_context(AUTHORITY))
            caller.writer.write(post(body=b"x" * 200_000)[:100_000])
            answer = await caller.answer()
            assert (answer.status, answer.fields["connection"]) == (413, "close")

    in_mesh(story, echo, snapshot=policy(bounds=Bounds(body_bytes=1024)))


def test_a_client_that_speaks_plain_http_gets_no_answer_and_harms_nobody() -> None:
    async def story(mesh: Mesh) -> None:
        async with door(mesh) as secured:
            plain = await secured.connect(None)
            plain.writer.write(post())
            assert b"HTTP" not in await plain.reader.read()
            caller = await secured.connect(client_context(AUTHORITY))
            caller.writer.write(post())
            assert (await caller.answer()).status == 200

    in_mesh(story, echo)


def test_a_handshake_that_never_ends_is_cut_off_and_counts_as_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "HANDSHAKE_WITHIN_S", 1.0)

    async def story(mesh: Mesh) -> None:
        async with door(mesh) as secured:
            silent = await secured.connect(None)
            assert not mesh.gateway.connections
            assert await asyncio.wait_for(silent.reader.read(), 5) == b""

    in_mesh(story, echo)


def test_a_caller_is_the_tenant_that_its_certificate_names(tmp_path: Path) -> None:
    async def story(mesh: Mesh) -> None:
        async with door(mesh, told(0, ca=AUTHORITY.pem)) as secured:
            statuses = []
            for issued in (ADS, STRANGER, None):
                caller = await secured.connect(client_context(AUTHORITY, issued, tmp_path))
                caller.writer.write(NO_KEY)
                statuses.append((await caller.answer()).status)
            assert statuses == [200, 401, 401]
            caller = await secured.connect(client_context(AUTHORITY))
            caller.writer.write(post(key=KEY))  # no certificate is needed where a key is shown
            assert (await caller.answer()).status == 200

    in_mesh(story, echo, snapshot=with_certificate())


def test_a_header_makes_nobody_s_certificate_another_s(tmp_path: Path) -> None:
    async def story(mesh: Mesh) -> None:
        async with door(mesh, told(0, ca=AUTHORITY.pem)) as secured:
            for name in ("x-forwarded-client-cert", "x-client-cert", "ssl-client-s-dn", "x-ssl-client-verify"):
                caller = await secured.connect(client_context(AUTHORITY, STRANGER, tmp_path))
                field = f"\r\n{name}: URI=spiffe://corp/ads\r\n\r\n".encode()
                caller.writer.write(NO_KEY.replace(b"\r\n\r\n", field))
                assert (await caller.answer()).status == 401

    in_mesh(story, echo, snapshot=with_certificate())


@pytest.mark.parametrize("issued", [None, Authority("others").client("ads", uris=["spiffe://corp/ads"])])
def test_where_a_certificate_is_required_a_caller_without_ours_is_cut_off(
    issued: Issued | None, tmp_path: Path
) -> None:
    async def story(mesh: Mesh) -> None:
        async def ask(secured: SecuredDoor) -> None:
            caller = await secured.connect(client_context(AUTHORITY, issued, tmp_path))
            caller.writer.write(post())
            await caller.answer()  # in TLS 1.3 the client learns of it only when it reads

        async with door(mesh, told(0, ca=AUTHORITY.pem, is_required=True)) as secured:
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                await ask(secured)
            assert not mesh.pods[0].seen
            assert not mesh.gateway.connections

    in_mesh(story, echo, snapshot=with_certificate())


def test_another_certificate_is_shown_to_new_connections_and_the_old_ones_live_on() -> None:
    async def story(mesh: Mesh) -> None:
        async with door(mesh) as secured:
            before = await secured.connect(client_context(AUTHORITY))
            successor = AUTHORITY.server("mesh.example")
            secured.doors.show(told(secured.fd, successor))
            after = await secured.connect(client_context(AUTHORITY))
            by_address = await secured.connect(client_context(AUTHORITY), "127.0.0.1")
            assert [certificate_of(one) for one in (before, after, by_address)] == [
                der(SERVER),
                der(successor),
                der(successor),
            ]
            for caller in (before, after):
                caller.writer.write(post())
                assert (await caller.answer()).status == 200

    in_mesh(story, echo)


def test_no_handshake_fails_while_the_certificate_is_replaced_again_and_again() -> None:
    other = AUTHORITY.server("mesh.example")

    async def story(mesh: Mesh) -> None:
        async with door(mesh) as secured:
            for issued in [other, SERVER] * 25:
                begun = [asyncio.create_task(secured.connect(client_context(AUTHORITY))) for _ in range(2)]
                await asyncio.sleep(0)
                secured.doors.show(told(secured.fd, issued))
                callers = await asyncio.gather(*begun)
                shown = await secured.connect(client_context(AUTHORITY))
                assert certificate_of(shown) == der(issued)
                for caller in (*callers, shown):
                    caller.writer.transport.abort()

    in_mesh(story, echo)


def test_a_door_of_tls_stays_shut_until_its_certificate_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as secured:
        doors = Doors([plain], [secured])
        assert not doors.all_known
        assert doors.take_shut() == [Door(plain)]
        doors.show(told(plain.fileno()))  # of a socket that has no TLS: nothing
        assert doors.take_shut() == []
        doors.show(told(secured.fileno(), ca=AUTHORITY.pem))
        (opened,) = doors.take_shut()
        assert (opened.socket, opened.identity_from, doors.all_known) == (secured, "san-uri", True)
        with pytest.raises(TlsRefused):
            doors.show(told(secured.fileno(), Issued(b"", b"")))
        assert doors.take_shut() == []


def test_a_connection_of_a_unix_socket_has_no_address() -> None:
    class Transport(asyncio.BaseTransport):
        """Tells what one does."""

    assert peer_of(Transport({"peername": ""}), "") == NO_PEER
    assert peer_of(Transport({"peername": ("::1", 1, 0, 0)}), "") == Peer("::1")
