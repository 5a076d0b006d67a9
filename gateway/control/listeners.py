"""Listening sockets: the supervisor binds them once, and workers inherit those of the inference API."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.control.certificates import Certificate, KeptOut, Taken
from gateway.control.events import Say
from gateway.control.messages import ShowCertificate
from gateway.tls import LiveContext, TlsRefused
from policies.snapshot.mesh import Listen, Mesh

GATEWAY_SERVES = ("inference", "inference-grpc", "admin", "metrics")
BY_WORKERS = ("inference", "inference-grpc")
BACKLOG = 4096  # the most that Linux grants by default (net.core.somaxconn)
CERTIFICATES_EVERY_S = 1.0
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


def url(address: str, scheme: str = "http") -> str:
    """Return the URL that reaches a bound address from this machine."""
    host, port = split_address(address)
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://{join_address(reachable, port)}"


@dataclass(frozen=True, slots=True)
class Listener:
    """One socket of ours that listens.

    Attributes:
        address: where it really listens.
        certificate: what its TLS is made of; None for plain HTTP.
        live: the context of a listener that the supervisor itself serves; workers make their own.
    """

    asked: Listen
    socket: socket.socket
    address: str
    certificate: Certificate | None = None
    live: LiveContext | None = None

    @property
    def url(self) -> str:
        """What reaches it from this machine."""
        return url(self.address, "https" if self.certificate else "http")

    @property
    def asks_for_certificates(self) -> bool:
        """Whether a caller without a certificate is cut off."""
        return self.asked.client_certs is not None and self.asked.client_certs.required

    @property
    def told(self) -> ShowCertificate | None:
        """What a worker has to know of its TLS; None for plain HTTP."""
        if self.certificate is None:
            return None
        made_of, asked = self.certificate.material, self.asked.client_certs
        return ShowCertificate(
            listen_fd=self.socket.fileno(),
            cert=made_of.cert,
            key=made_of.key,
            ca=made_of.ca,
            is_required=made_of.required,
            identity_from=asked.identity_from if asked is not None else "",
        )


class Listeners:
    """The gateway's sockets, bound once for the life of the supervisor; the hub binds its own."""

    def __init__(self, asked: tuple[Listen, ...]) -> None:
        self.bound: list[Listener] = []
        self._asked = asked

    @classmethod
    async def bind(cls, mesh: Mesh) -> Listeners:
        """Bind every address of the policy that is the gateway's.

        Raises:
            ListenRefused: one cannot be bound, or its certificate cannot be used.
        """
        listeners = cls(mesh.listen)
        for asked in mesh.listen:
            if asked.serves in GATEWAY_SERVES:
                listeners.bound.append(await _bound(asked))
        return listeners

    @property
    def inference(self) -> list[Listener]:
        """Those of the inference API over HTTP."""
        return self._serving("inference")

    @property
    def inference_grpc(self) -> list[Listener]:
        """Those of the inference API over gRPC."""
        return self._serving("inference-grpc")

    @property
    def of_workers(self) -> list[Listener]:
        """Those that workers serve."""
        return [*self.inference, *self.inference_grpc]

    @property
    def management(self) -> list[Listener]:
        """Those of the management API."""
        return self._serving("admin")

    @property
    def metrics(self) -> list[Listener]:
        """Those that Prometheus reads."""
        return self._serving("metrics")

    def differ_from(self, mesh: Mesh) -> bool:
        """Whether a policy asks for other addresses than those that were bound."""
        return mesh.listen != self._asked

    def close_inference(self) -> None:
        """Close our copies of the inference sockets; workers close theirs when they have drained."""
        for listener in self.of_workers:
            listener.socket.close()

    def _serving(self, serves: str) -> list[Listener]:
        return [listener for listener in self.bound if listener.asked.serves == serves]


def look_at_certificates(listeners: Iterable[Listener], say: Say) -> list[Listener]:
    """Take what was replaced, say what became of it, and return the listeners that show another certificate now."""
    changed = []
    for listener in listeners:
        match listener.certificate and listener.certificate.look():
            case Taken(material=material):
                if listener.live is not None:
                    listener.live.use(material)
                changed.append(listener)
                say(f"{listener.address} shows another certificate from now on")
            case KeptOut(why=why):
                say(f"{listener.address}: {why}; it shows the certificate that it had")
    return changed


async def _bound(asked: Listen) -> Listener:
    try:
        certificate = Certificate(asked) if asked.tls is not None else None
    except TlsRefused as refused:
        raise ListenRefused(f"cannot listen on {asked.address} with TLS: {refused}") from refused
    is_ours = asked.serves not in BY_WORKERS
    live = LiveContext(certificate.material) if certificate is not None and is_ours else None
    listening = await listen(asked.address)
    return Listener(asked, listening, bound_address(listening), certificate, live)


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
