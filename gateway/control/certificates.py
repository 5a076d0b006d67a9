"""Certificates: reads what listeners' TLS is made of from where policy says, and notices when it was replaced."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from gateway.tls import TlsMaterial, TlsRefused, make_context
from policies.snapshot.mesh import Listen

_FILE = "file:"
_MAX_BYTES = 1024 * 1024
# A group may read a key: containers are given secrets so.
_NOT_FOR_KEYS = stat.S_IWGRP | stat.S_IRWXO

Look = tuple[int, int, int, int]
Looks = tuple[Look | None, ...]
"""What each file looked like: when it was changed, its size, inode and mode; None for one that is not there."""


class Taken(Struct, frozen=True):
    """Other files were there, and can be used."""

    material: TlsMaterial


class KeptOut(Struct, frozen=True):
    """Other files are there, and cannot be used; the old certificate is shown on."""

    why: str


class Certificate:
    """The TLS of one listener as its files have it.

    Attributes:
        material: the last that could be used.
        names: the host names that it proves.

    Raises:
        TlsRefused: nothing can be used.
    """

    def __init__(self, listen: Listen, environ: Mapping[str, str] = os.environ) -> None:
        self._listen = listen
        self._environ = environ
        self._paths = tuple(Path(place.removeprefix(_FILE)) for place in places(listen) if place.startswith(_FILE))
        self._looks = self._look_at_files()
        # Why the files that are there cannot be used, and what was told of that; "" while they are.
        self._trouble = self._told = ""
        self.material = self._read()
        self.names = dns_names(self.material.cert)

    @property
    def pem(self) -> str:
        """The certificate itself, without those that lead from it to an authority."""
        first = x509.load_pem_x509_certificates(self.material.cert)[0]
        return first.public_bytes(Encoding.PEM).decode("ascii")

    def look(self) -> Taken | KeptOut | None:
        """Return what became of the files since the last look, None when nothing did.

        A pair is written one file after the other: what cannot be used is told only once it has rested for a look. It
        is tried again at every look, for a disk may give later what it refuses now.
        """
        looks = self._look_at_files()
        has_rested, self._looks = looks == self._looks, looks
        if has_rested and not self._trouble:
            return None
        try:
            material = self._read()
        except TlsRefused as refused:
            return self._kept_out(str(refused), has_rested)
        self._trouble = self._told = ""
        if material == self.material:
            return None
        self.material = material
        self.names = dns_names(material.cert)
        return Taken(material)

    def _kept_out(self, why: str, has_rested: bool) -> KeptOut | None:
        self._trouble, told = why, self._told
        self._told = why if has_rested else ""
        return KeptOut(why) if has_rested and why != told else None

    def _read(self) -> TlsMaterial:
        material = read_material(self._listen, self._environ)
        make_context(material)
        return material

    def _look_at_files(self) -> Looks:
        return tuple(_looks_of(path) for path in self._paths)


def places(listen: Listen) -> tuple[str, ...]:
    """Return where a listener's certificate, key and authorities are kept, as far as it has them."""
    if listen.tls is None:
        return ()
    authorities = (listen.client_certs.ca,) if listen.client_certs else ()
    return (listen.tls.cert, listen.tls.key, *authorities)


def read_material(listen: Listen, environ: Mapping[str, str]) -> TlsMaterial:
    """Read what a listener's TLS is made of.

    Raises:
        TlsRefused: something is not there, or the key is open to others than its owner.
    """
    key_place = listen.tls.key if listen.tls is not None else ""
    cert, key, *ca = (_read_place(place, environ, is_key=place == key_place) for place in places(listen))
    is_required = listen.client_certs is not None and listen.client_certs.required
    return TlsMaterial(cert, key, ca[0] if ca else b"", is_required)


def dns_names(cert: bytes) -> tuple[str, ...]:
    """Return the host names of the first certificate, in lower case."""
    first = x509.load_pem_x509_certificates(cert)[0]
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _read_place(place: str, environ: Mapping[str, str], *, is_key: bool) -> bytes:
    if not place.startswith(_FILE):
        name = place.removeprefix("env:")
        if not environ.get(name):
            raise TlsRefused(f"the environment variable {name} is not set")
        return environ[name].encode("utf-8", "surrogateescape")
    path = Path(place.removeprefix(_FILE))
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise TlsRefused(f"{path} cannot be read: {error.strerror}") from error
    if is_key and mode & _NOT_FOR_KEYS:
        raise TlsRefused(f"{path} is a private key with mode {stat.S_IMODE(mode):04o}: `chmod 0600 {path}`")
    if not content or len(content) > _MAX_BYTES:
        raise TlsRefused(f"{path} is {'longer than 1 MiB' if content else 'empty'}")
    return content


def _looks_of(path: Path) -> Look | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode
