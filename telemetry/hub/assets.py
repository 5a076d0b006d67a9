"""Fetches what the pages need and is not ours: files of npm packages, pinned by a lock file, checked by digest."""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import hmac
import http.client
import io
import os
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

VENDORED = Path(__file__).parent / "vendored"
LOCK = Path(__file__).parent / "assets.lock.json"

TARBALL_BYTES = 4 * 2**20
FILE_BYTES = 2 * 2**20
WITHIN_S = 30.0
TRIES = 3
WAIT_S = 1.0


class CannotInstall(Exception):
    """The files cannot be fetched; the message is a sentence."""


class Package(Struct, frozen=True, forbid_unknown_fields=True):
    """One package of the lock file.

    Attributes:
        tarball: its path on a registry.
        integrity: ``sha512-`` and the digest in base64, as npm writes it.
        files: the files that are used, by their place in the package: SHA-256 in hex.
    """

    name: str
    version: str
    tarball: str
    integrity: str
    licence: str
    files: dict[str, str]


class Lock(Struct, frozen=True, forbid_unknown_fields=True):
    """The lock file: packages, and the public registry that has them."""

    registry: str
    packages: tuple[Package, ...]


Fetch = Callable[[str], bytes]


def read_lock(path: Path = LOCK) -> Lock:
    """Return the lock file."""
    return msgspec.json.decode(path.read_bytes(), type=Lock)


def are_installed() -> bool:
    """Whether every file is there; whether it is the right one, its installation has checked."""
    return all(place.is_file() for place in _places())


@functools.cache
def _places() -> tuple[Path, ...]:
    return tuple(place_of(package, file, VENDORED) for package in read_lock().packages for file in package.files)


def place_of(package: Package, file: str, vendored: Path) -> Path:
    """Return where a package's file is put: below its name, flat, so that pages need not know its version."""
    return vendored / package.name / Path(file).name


def install(lock: Lock, vendored: Path, registry: str, fetch: Fetch) -> list[str]:
    """Fetch the packages of which a file is absent or another one, and return their names.

    Raises:
        CannotInstall: a package cannot be had, or is not what the lock file names.
    """
    due = [package for package in lock.packages if not _is_whole(package, vendored)]
    for package in due:
        files = unpack(package, fetch(at_registry(package.tarball, registry)))
        for file, content in files.items():
            _write(place_of(package, file, vendored), content)
    return [f"{package.name} {package.version}" for package in due]


def at_registry(tarball: str, registry: str) -> str:
    """Return the tarball's address."""
    return registry.rstrip("/") + tarball


def unpack(package: Package, tarball: bytes) -> dict[str, bytes]:
    """Return the listed files of a tarball.

    Raises:
        CannotInstall: the tarball or a file in it has another digest, or a file is not there.
    """
    expected = package.integrity.removeprefix("sha512-")
    if not hmac.compare_digest(base64.b64encode(hashlib.sha512(tarball).digest()).decode(), expected):
        raise CannotInstall(f"What came for {package.name} {package.version} is not what assets.lock.json names.")
    with tarfile.open(fileobj=io.BytesIO(tarball), mode="r:gz") as archive:
        return {file: _member(archive, package, file) for file in package.files}


def _member(archive: tarfile.TarFile, package: Package, file: str) -> bytes:
    """Return one regular file, read into memory: no name of the archive ever becomes a path."""
    try:
        member = archive.getmember(f"package/{file}")
    except KeyError as absent:
        raise CannotInstall(f"{package.name} {package.version} has no file {file}.") from absent
    opened = archive.extractfile(member) if member.isreg() and member.size <= FILE_BYTES else None
    content = opened.read() if opened is not None else b""
    if hashlib.sha256(content).hexdigest() != package.files[file]:
        raise CannotInstall(f"{file} of {package.name} {package.version} is not what assets.lock.json names.")
    return content


def registry_of(environ: Mapping[str, str], npmrc: str, public: str) -> str:
    """Return the registry that npm would use: of the environment, else of ``~/.npmrc``, else the public one."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if environ.get(name):
            return environ[name]
    return next(_registries(npmrc.splitlines()), public)


def _registries(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        key, equals, value = line.partition("=")
        if equals and key.strip() == "registry" and value.strip():
            yield value.strip()


def fetch(url: str) -> bytes:
    """Return what is at the address, tried a few times.

    Raises:
        CannotInstall: it does not come, or is larger than any of ours.
    """
    if not url.startswith(("https://", "http://")):
        raise CannotInstall(f"{url} is no address of a registry.")
    failure = ""
    for attempt in range(TRIES):
        try:
            content = _download(url)
        except (OSError, http.client.HTTPException) as error:
            failure = str(error)
            time.sleep(WAIT_S * 2**attempt)
            continue
        if len(content) > TARBALL_BYTES:
            raise CannotInstall(f"{url} is larger than {TARBALL_BYTES} bytes.")
        return content
    raise CannotInstall(f"{url} does not come: {failure}.")


def _download(url: str) -> bytes:
    """Return what is at the address, or its beginning where it is larger than any of ours."""
    try:
        with urllib.request.urlopen(url, timeout=WITHIN_S) as answer:  # noqa: S310 - the caller has checked the scheme
            content: bytes = answer.read(TARBALL_BYTES + 1)
            return content
    except urllib.error.HTTPError as refusal:
        refusal.close()
        raise


def _is_whole(package: Package, vendored: Path) -> bool:
    return all(_has(place_of(package, file, vendored), digest) for file, digest in package.files.items())


def _has(place: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(place.read_bytes()).hexdigest() == digest
    except OSError:
        return False


def _write(place: Path, content: bytes) -> None:
    """Write whole or not at all: another installation may run at the same time."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.replace(place)


def _npmrc() -> str:
    try:
        return (Path.home() / ".npmrc").read_text()
    except (OSError, RuntimeError, UnicodeDecodeError):
        return ""


def main(arguments: Sequence[str]) -> int:
    """Install what is absent; 0 when everything is there."""
    parser = argparse.ArgumentParser(prog="python -m telemetry.hub.assets", description=__doc__)
    parser.add_argument("--into", type=Path, default=VENDORED, help="the folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        lock = read_lock()
        fetched = install(lock, options.into, registry_of(os.environ, _npmrc(), lock.registry), fetch)
    except (CannotInstall, OSError, tarfile.TarError) as error:
        print(f"dashboard files: {error} The pages work without their charts until this succeeds.", file=sys.stderr)
        return 1
    if fetched:
        print(f"dashboard files: fetched {', '.join(fetched)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
