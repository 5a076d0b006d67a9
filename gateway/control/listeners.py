"""Listening sockets: the supervisor binds them once, and workers inherit those of the inference API."""

from __future__ import annotations

import asyncio
import errno
import socket
import time

from policies.snapshot import Listen, Mesh

BACKLOG = 4096  # the most that Linux grants by default (net.core.somaxconn)
BIND_WITHIN_S = 5.0  # workers of a supervisor that was killed need a moment to leave
_RETRY_EVERY_S = 0.05
_IN_USE = "another process has it (see `ss -ltnp`); end it, or write another address under `listen` in mesh.yaml"


class ListenRefused(Exception):
    """An address cannot be listened on; the message names it."""


def split_address(address: str) -> tuple[str, int]:
    """Split ``host:port`` or ``[v6]:port``.

    Raises:
        ListenRefused: it is neither.
    """
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ListenRefused(f"{address} is no address to listen on; write HOST:PORT")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    """Write a host and a port as one address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_address(listening: socket.socket) -> str:
    """Return where a socket really listens, which differs from what was asked for when the port was 0."""
    host, port = listening.getsockname()[:2]
    return join_address(host, port)


def url(address: str) -> str:
    """Return the URL that reaches a bound address from this machine."""
    host, port = split_address(address)
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{join_address(reachable, port)}"


class Listeners:
    """The gateway's sockets, bound once for the life of the supervisor; the hub binds its own."""

    def __init__(self, asked: tuple[Listen, ...]) -> None:
        self.inference: list[socket.socket] = []
        self.management: list[socket.socket] = []
        self.metrics: list[socket.socket] = []
        self.inference_addresses: list[str] = []
        self.management_addresses: list[str] = []
        self.metrics_addresses: list[str] = []
        self._asked = asked

    @classmethod
    async def bind(cls, mesh: Mesh) -> Listeners:
        """Bind every address of the policy that is the gateway's.

        Raises:
            ListenRefused: one cannot be bound.
        """
        listeners = cls(mesh.listen)
        ours = {
            "inference": (listeners.inference, listeners.inference_addresses),
            "admin": (listeners.management, listeners.management_addresses),
            "metrics": (listeners.metrics, listeners.metrics_addresses),
        }
        for asked in mesh.listen:
            if asked.serves in ours:
                sockets, addresses = ours[asked.serves]
                sockets.append(await listen(asked.address))
                addresses.append(bound_address(sockets[-1]))
        return listeners

    def differ_from(self, mesh: Mesh) -> bool:
        """Whether a policy asks for other addresses than those that were bound."""
        return mesh.listen != self._asked

    def close_inference(self) -> None:
        """Close our copies of the inference sockets; workers close theirs when they have drained."""
        for listening in self.inference:
            listening.close()


async def listen(address: str) -> socket.socket:
    """Bind and listen, waiting a little for an address that is still in use.

    Raises:
        ListenRefused: the address stays in use, or cannot be bound at all.
    """
    host, port = split_address(address)
    give_up_at_s = time.monotonic() + BIND_WITHIN_S
    while True:
        try:
            return _listen_now(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise ListenRefused(f"cannot listen on {address}: {error.strerror}") from error
            if time.monotonic() >= give_up_at_s:
                raise ListenRefused(f"cannot listen on {address}: {_IN_USE}") from error
        await asyncio.sleep(_RETRY_EVERY_S)


def _listen_now(host: str, port: int) -> socket.socket:
    family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind(where)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
