"""Doors: the listening sockets of one worker, with TLS as the supervisor tells it, and who comes in by one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.control.messages import ShowCertificate
from gateway.dataplane.credentials import Peer
from gateway.tls import GRPC_ALPN, HTTP_ALPN, LiveContext, TlsMaterial, identity_of


@dataclass(frozen=True, slots=True)
class Door:
    """One listening socket.

    Attributes:
        context: None for plain HTTP.
        identity_from: what of a caller's certificate names it; "" where none is asked for.
        speaks_grpc: instead of HTTP/1.1.
    """

    socket: socket.socket
    context: ssl.SSLContext | None = None
    identity_from: str = ""
    speaks_grpc: bool = False


class Doors:
    """Every listening socket of a worker; those of TLS stay shut until their certificate is known.

    Args:
        grpc_fds: descriptors of those of both where gRPC is spoken.
    """

    def __init__(
        self,
        plain: Sequence[socket.socket],
        secured: Sequence[socket.socket] = (),
        grpc_fds: frozenset[int] = frozenset(),
    ) -> None:
        self._grpc_fds = grpc_fds
        self._shut = [Door(listening, speaks_grpc=listening.fileno() in grpc_fds) for listening in plain]
        self._waiting = {listening.fileno(): listening for listening in secured}
        self._live: dict[int, LiveContext] = {}

    def show(self, told: ShowCertificate) -> None:
        """Show this certificate from the next handshake on.

        Raises:
            TlsRefused: it cannot be used; the supervisor has used it, so this is a defect.
        """
        speaks_grpc = told.listen_fd in self._grpc_fds
        alpn = GRPC_ALPN if speaks_grpc else HTTP_ALPN
        material = TlsMaterial(told.cert, told.key, told.ca, told.is_required, alpn)
        if told.listen_fd in self._live:
            self._live[told.listen_fd].use(material)
        elif told.listen_fd in self._waiting:
            live = self._live[told.listen_fd] = LiveContext(material)
            self._shut.append(Door(self._waiting.pop(told.listen_fd), live.context, told.identity_from, speaks_grpc))

    def take_shut(self) -> list[Door]:
        """Return every door that can be opened now and was not taken before."""
        shut, self._shut = self._shut, []
        return shut

    @property
    def all_known(self) -> bool:
        """Whether no door waits for its certificate."""
        return not self._waiting


def peer_of(transport: asyncio.BaseTransport, identity_from: str) -> Peer:
    """Return who is at the other end of a connection."""
    name = transport.get_extra_info("peername")
    address = str(name[0]) if isinstance(name, tuple) else ""
    if not identity_from:
        return Peer(address)
    secured: ssl.SSLObject = transport.get_extra_info("ssl_object")
    return Peer(address, identity_of(secured.getpeercert(), identity_from))
