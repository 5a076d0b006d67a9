"""gRPC over TLS: HTTP/2 is agreed on by name, and a caller's certificate says who calls."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc

from gateway.control.messages import ShowCertificate
from gateway.dataplane.accepting import Acceptor, Reserve
from gateway.dataplane.grpc.connection import GrpcConnection
from gateway.dataplane.tls import Doors
from tests.certificates import Authority, client_context
from tests.gateway.dataplane.grpc.edge import INFER, WITHIN_S, Edge, answering, at_edge, infer_request, told
from tests.gateway.policy import KEY

AUTHORITY = Authority()
SERVER = AUTHORITY.server("mesh.example")


@asynccontextmanager
async def secured(edge: Edge) -> AsyncIterator[int]:
    """Open a door with TLS to the edge, and yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        doors = Doors([], [listening], frozenset({listening.fileno()}))
        doors.show(ShowCertificate(listening.fileno(), SERVER.cert, SERVER.key, b"", False, ""))
        (door,) = doors.take_shut()
        assert door.speaks_grpc
        reserve = Reserve()
        make_protocol = partial(GrpcConnection, edge.gateway, door.identity_from)
        acceptor = Acceptor(asyncio.get_running_loop(), door, make_protocol, reserve, bytes)
        try:
            yield listening.getsockname()[1]
            await until_all_have_left(acceptor, edge)
        finally:
            acceptor.close()
            reserve.close()


async def until_all_have_left(acceptor: Acceptor, edge: Edge) -> None:
    """Wait for the ends of connections that clients have left: a loop that closes earlier breaks in their midst."""
    async with asyncio.timeout(WITHIN_S):
        while acceptor.is_admitting or edge.gateway.connections:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


def call_over_tls(port: int) -> Any:
    credentials = grpc.ssl_channel_credentials(AUTHORITY.pem)
    options = (("grpc.ssl_target_name_override", "mesh.example"),)
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        metadata = (("authorization", f"Bearer {KEY}"),)
        answer, done = channel.unary_unary(INFER).with_call(infer_request(), timeout=10, metadata=metadata)
        return told(done, [answer])


def test_calls_are_answered_over_tls() -> None:
    async def test(edge: Edge) -> None:
        async with secured(edge) as port:
            answer = await asyncio.to_thread(call_over_tls, port)
            assert answer.messages == [b"y" * 100_000]

    at_edge(test, answering(b"y" * 100_000))


def test_http2_is_what_is_agreed_on() -> None:
    async def test(edge: Edge) -> None:
        async with secured(edge) as port:
            context = client_context(AUTHORITY)
            context.set_alpn_protocols(["h2", "http/1.1"])
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="mesh.example")
            agreed: ssl.SSLObject = writer.get_extra_info("ssl_object")
            assert agreed.selected_alpn_protocol() == "h2"
            writer.close()
            await writer.wait_closed()

    at_edge(test, answering(b""))
