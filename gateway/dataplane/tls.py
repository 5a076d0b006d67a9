"""Doors: the listening sockets of one worker, with TLS as the supervisor tells it, and who comes in by one."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.control.messages import ShowCertificate
from gateway.dataplane.credentials import Peer
from gateway.tls import LiveContext, TlsMaterial, identity_of


@dataclass(frozen=True, slots=True)
class Door:
    """One listening socket.

    Attributes:
        context: None for plain HTTP.
        identity_from: what of a caller's certificate names it; "" where none is asked for.
    """

    socket: socket.socket
    context: ssl.SSLContext | None = None
    identity_from: str = ""


class Doors:
    """Every listening socket of a worker; those of TLS stay shut until their certificate is known."""

    def __init__(self, plain: Sequence[socket.socket], secured: Sequence[socket.socket] = ()) -> None:
        self._shut = [Door(listening) for listening in plain]
        self._waiting = {listening.fileno(): listening for listening in secured}
        self._live: dict[int, LiveContext] = {}

    def show(self, told: ShowCertificate) -> None:
        """Show this certificate from the next handshake on.

        Raises:
            TlsRefused: it cannot be used; the supervisor has used it, so this is a defect.
        """
        material = TlsMaterial(told.cert, told.key, told.ca, told.is_required)
        if told.listen_fd in self._live:
            self._live[told.listen_fd].use(material)
        elif told.listen_fd in self._waiting:
            live = self._live[told.listen_fd] = LiveContext(material)
            self._shut.append(Door(self._waiting.pop(told.listen_fd), live.context, told.identity_from))

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
