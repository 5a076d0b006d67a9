"""Certificates for tests: an authority that issues what a test asks for; keys are P-256, which are quick to make."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, as PEM."""

    cert: bytes
    key: bytes

    def write(self, cert: Path, key: Path) -> None:
        """Write both as an operator does: one after the other, the key for its owner alone."""
        cert.write_bytes(self.cert)
        key.touch(mode=0o600)
        key.write_bytes(self.key)


class Authority:
    """Issues certificates."""

    def __init__(self, name: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """Its own certificate."""
        return self._certificate.public_bytes(Encoding.PEM)

    def server(self, *names: str, key: PrivateKey | None = None, addresses: Sequence[str] = ("127.0.0.1",)) -> Issued:
        """Issue a server's certificate for these host names and for loopback."""
        sans = [x509.DNSName(name) for name in names]
        proven = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        return self._issue("server", [*sans, *proven], ExtendedKeyUsageOID.SERVER_AUTH, key)

    def client(
        self, common_name: str = "client", uris: Sequence[str] = (), names: Sequence[str] = (), *, days: int = 1
    ) -> Issued:
        """Issue a client's certificate; one of -1 days has expired."""
        sans = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, names)]
        return self._issue(common_name, sans, ExtendedKeyUsageOID.CLIENT_AUTH, None, days)

    def _issue(
        self,
        common_name: str,
        sans: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        key: PrivateKey | None,
        days: int = 1,
    ) -> Issued:
        own = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = _builder(subject, self._name, own.public_key(), days).add_extension(
            x509.ExtendedKeyUsage([usage]), critical=False
        )
        if sans:
            builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Issued(certificate.public_bytes(Encoding.PEM), key_pem(own))


def key_pem(key: PrivateKey, password: bytes = b"") -> bytes:
    """Return a private key as PEM, encrypted when there is a password."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def client_context(authority: Authority, issued: Issued | None = None, folder: Path | None = None) -> ssl.SSLContext:
    """Return the context of a client that believes the authority and shows a certificate, if it has one."""
    context = ssl.create_default_context(cadata=authority.pem.decode())
    if issued is not None and folder is not None:
        issued.write(folder / "client.crt", folder / "client.key")
        context.load_cert_chain(folder / "client.crt", folder / "client.key")
    return context


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, days: int = 1
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * _DAY)
        .not_valid_after(now + days * _DAY)
    )
