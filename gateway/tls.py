"""TLS of listeners: contexts made from PEM in memory, replaced while they are in use, and who a certificate names."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Struct

HANDSHAKE_WITHIN_S: Final = 5.0
"""A handshake that takes longer is cut off; until it is done nothing of the caller is counted but its socket."""

MAX_IDENTITY_CHARS: Final = 1024
"""A certificate that names its holder at greater length names nobody."""

HTTP_ALPN: Final = ("http/1.1",)
GRPC_ALPN: Final = ("h2",)
_SAN_KINDS: Final = {"san-uri": "URI", "san-dns": "DNS"}


class TlsRefused(Exception):
    """A certificate, key or authority cannot be used; the message says which and why."""


class TlsMaterial(Struct, frozen=True):
    """What the TLS of one listener is made of, all as PEM.

    Attributes:
        cert: the certificate and those that lead from it to an authority.
        key: its private key, not encrypted.
        ca: the authorities of callers' certificates; b"" asks callers for none.
        required: a caller without a certificate is cut off.
        alpn: the protocols that are spoken inside.
    """

    cert: bytes
    key: bytes
    ca: bytes = b""
    required: bool = False
    alpn: tuple[str, ...] = HTTP_ALPN

    def __repr__(self) -> str:
        """Say nothing of the key."""
        return f"TlsMaterial(cert={self.cert!r}, ca={self.ca!r}, required={self.required})"


class LiveContext:
    """A context that listening sockets keep for life, while the certificate that it shows is replaced.

    Attributes:
        context: what a listening socket is given.

    Raises:
        TlsRefused: the material cannot be used.
    """

    def __init__(self, material: TlsMaterial) -> None:
        self._current = self.context = make_context(material)
        # OpenSSL keeps one certificate of each kind of key, so that a new one loaded beside it might never be shown.
        self.context.sni_callback = self._switch

    def use(self, material: TlsMaterial) -> None:
        """Use this from the next handshake on; connections that stand go on as they began.

        Raises:
            TlsRefused: the material cannot be used, and nothing has changed.
        """
        self._current = make_context(material)

    def _switch(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._current


def make_context(material: TlsMaterial) -> ssl.SSLContext:
    """Return a server's context.

    Raises:
        TlsRefused: the key is not the certificate's, or something is no PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # A resumed session would not show its certificate again, whatever became of it and its authority meanwhile.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.set_alpn_protocols(list(material.alpn))
    _load_pair(context, material)
    if material.ca:
        _load_authorities(context, material.ca)
        context.verify_mode = ssl.CERT_REQUIRED if material.required else ssl.CERT_OPTIONAL
    return context


def identity_of(certificate: Mapping[str, Any] | None, identity_from: str) -> str:
    """Return whom a verified certificate names, as ``SSLObject.getpeercert`` tells it; "" for nobody.

    A certificate that names several is taken for none: which of them calls would be a guess.

    Args:
        identity_from: "san-uri", "san-dns" or "subject".
    """
    if not certificate:
        return ""
    if identity_from in _SAN_KINDS:
        wanted = _SAN_KINDS[identity_from]
        named = [value for kind, value in certificate.get("subjectAltName", ()) if kind == wanted]
    else:
        parts = (pair for part in certificate.get("subject", ()) for pair in part)
        named = [value for kind, value in parts if kind == "commonName"]
    if len(named) != 1 or len(named[0]) > MAX_IDENTITY_CHARS or not named[0].isprintable():
        return ""
    return str(named[0])


def _load_pair(context: ssl.SSLContext, material: TlsMaterial) -> None:
    with _in_memory(material.cert) as cert, _in_memory(material.key) as key:
        try:
            # Without a password an encrypted key would be asked for on the terminal.
            context.load_cert_chain(cert, key, password="")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise TlsRefused(_why_no_pair(error)) from error


def _why_no_pair(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return "the certificate or its key cannot be read; both are to be PEM, and the key not encrypted"


def _load_authorities(context: ssl.SSLContext, ca: bytes) -> None:
    try:
        context.load_verify_locations(cadata=ca.decode("ascii"))
    except (ssl.SSLError, ValueError) as error:
        raise TlsRefused("the authorities of callers' certificates are no PEM certificates") from error


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Give bytes a path that only this process has, for an interface that takes nothing but paths."""
    descriptor = os.memfd_create("penstock-tls", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
