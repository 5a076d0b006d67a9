"""The files that pages need come as the lock file names them, or not at all."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from telemetry.hub import assets
from telemetry.hub.assets import (
    CannotInstall,
    Lock,
    Package,
    at_registry,
    install,
    main,
    place_of,
    read_lock,
    registry_of,
    unpack,
)

SCRIPT = b"draw();"
TERMS = b"Do as you like."

REGISTRY = "http://registry"


def tarball(files: Mapping[str, bytes], kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """Return a package as npm packs it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = 0 if link else len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def pinned(content: bytes, files: Mapping[str, bytes], name: str = "plot") -> Package:
    """Return what a lock file says of a tarball and of the files in it."""
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"
    digests = {file: hashlib.sha256(held).hexdigest() for file, held in files.items()}
    return Package(name, "1.0.0", f"/{name}/-/{name}-1.0.0.tgz", integrity, "MIT", digests)


def locked(package: Package) -> Lock:
    return Lock(REGISTRY, (package,))


WANTED = {"dist/plot.js": SCRIPT, "LICENSE": TERMS}
TARBALL = tarball({f"package/{file}": content for file, content in WANTED.items()})
PLOT = pinned(TARBALL, WANTED)


class Shelf:
    """Tarballs by their address, and which of them were asked for."""

    def __init__(self, tarballs: Mapping[str, bytes]) -> None:
        self._tarballs = tarballs
        self.asked: list[str] = []

    def fetch(self, url: str) -> bytes:
        """Return the tarball."""
        self.asked.append(url)
        return self._tarballs[url]


def offline(url: str) -> bytes:
    raise CannotInstall(f"{url} does not come: there is no network.")


def test_the_lock_file_pins_every_file_and_a_licence_of_each_package() -> None:
    lock = read_lock()
    assert lock.packages
    for package in lock.packages:
        assert package.tarball.startswith(f"/{package.name}/-/{package.name}-{package.version}.tgz")
        assert len(base64.b64decode(package.integrity.removeprefix("sha512-"), validate=True)) == 64
        assert package.licence in ("MIT", "0BSD", "ISC", "Apache-2.0", "BSD-3-Clause")
        assert any(file.upper().startswith("LICEN") for file in package.files)
        assert all(len(bytes.fromhex(digest)) == 32 for digest in package.files.values())


def test_no_two_files_are_put_in_one_place() -> None:
    places = [place_of(package, file, Path()) for package in read_lock().packages for file in package.files]
    assert len(places) == len(set(places))


def test_what_is_installed_is_what_the_lock_file_names() -> None:
    if not assets.are_installed():
        pytest.skip("not installed (python -m telemetry.hub.assets)")
    assert install(read_lock(), assets.VENDORED, REGISTRY, offline) == []


def test_listed_files_are_put_into_the_folder_and_no_others(tmp_path: Path) -> None:
    content = tarball({f"package/{file}": held for file, held in {**WANTED, "install.js": b"evil();"}.items()})
    package = pinned(content, WANTED)
    assert install(locked(package), tmp_path, REGISTRY, Shelf({REGISTRY + package.tarball: content}).fetch) == [
        "plot 1.0.0"
    ]
    assert {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")} == {
        "plot/plot.js": SCRIPT
    }
    assert sorted(path.name for path in (tmp_path / "plot").iterdir()) == ["LICENSE", "plot.js"]


def test_a_second_run_asks_nobody(tmp_path: Path) -> None:
    install(locked(PLOT), tmp_path, REGISTRY, Shelf({REGISTRY + PLOT.tarball: TARBALL}).fetch)
    assert install(locked(PLOT), tmp_path, REGISTRY, offline) == []


@pytest.mark.parametrize("file", ["plot.js", "LICENSE"])
def test_a_file_that_was_changed_or_lost_comes_anew(tmp_path: Path, file: str) -> None:
    shelf = Shelf({REGISTRY + PLOT.tarball: TARBALL})
    install(locked(PLOT), tmp_path, REGISTRY, shelf.fetch)
    (tmp_path / "plot" / file).write_bytes(b"evil();")
    assert install(locked(PLOT), tmp_path, REGISTRY, shelf.fetch) == ["plot 1.0.0"]
    (tmp_path / "plot" / file).unlink()
    assert install(locked(PLOT), tmp_path, REGISTRY, shelf.fetch) == ["plot 1.0.0"]
    assert (tmp_path / "plot" / "plot.js").read_bytes() == SCRIPT


def test_a_tarball_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    tampered = tarball({"package/dist/plot.js": b"evil();", "package/LICENSE": TERMS})
    with pytest.raises(CannotInstall, match=r"What came for plot 1\.0\.0 is not what assets\.lock\.json names"):
        install(locked(PLOT), tmp_path, REGISTRY, Shelf({REGISTRY + PLOT.tarball: tampered}).fetch)
    assert list(tmp_path.iterdir()) == []


def test_a_package_whose_file_is_another_is_refused_whole(tmp_path: Path) -> None:
    package = pinned(TARBALL, {**WANTED, "LICENSE": b"Pay."})
    with pytest.raises(CannotInstall, match="LICENSE of plot"):
        install(locked(package), tmp_path, REGISTRY, Shelf({REGISTRY + package.tarball: TARBALL}).fetch)
    assert list(tmp_path.iterdir()) == []


def test_a_package_without_a_listed_file_is_refused() -> None:
    package = pinned(TARBALL, {"dist/gone.js": b""})
    with pytest.raises(CannotInstall, match=r"has no file dist/gone\.js"):
        unpack(package, TARBALL)


def test_no_name_of_an_archive_becomes_a_path(tmp_path: Path) -> None:
    escaping = {"package/../../outside.js": SCRIPT, "/absolute.js": SCRIPT}
    content = tarball({**{f"package/{file}": held for file, held in WANTED.items()}, **escaping})
    vendored = tmp_path / "in" / "vendored"
    package = pinned(content, WANTED)
    install(locked(package), vendored, REGISTRY, Shelf({REGISTRY + package.tarball: content}).fetch)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["LICENSE", "plot.js"]


def test_even_a_listed_name_does_not_leave_its_packages_folder(tmp_path: Path) -> None:
    content = tarball({"package/../../outside.js": SCRIPT})
    package = pinned(content, {"../../outside.js": SCRIPT})
    vendored = tmp_path / "in" / "vendored"
    install(locked(package), vendored, REGISTRY, Shelf({REGISTRY + package.tarball: content}).fetch)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [vendored / "plot" / "outside.js"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_regular_file_is_refused(kind: bytes) -> None:
    content = tarball({"package/dist/plot.js": b""}, kind, "/etc/hostname")
    with pytest.raises(CannotInstall, match=r"dist/plot\.js of plot"):
        unpack(pinned(content, {"dist/plot.js": SCRIPT}), content)


def test_a_file_that_unpacks_to_more_than_any_of_ours_is_refused() -> None:
    bomb = b"\0" * (assets.FILE_BYTES + 1)
    content = tarball({"package/dist/plot.js": bomb})
    with pytest.raises(CannotInstall, match=r"dist/plot\.js of plot"):
        unpack(pinned(content, {"dist/plot.js": bomb}), content)


@pytest.mark.parametrize(
    ("environ", "npmrc", "registry"),
    [
        ({}, "", REGISTRY),
        (
            {"npm_config_registry": "http://environment.example/npm/"},
            "registry=http://npmrc.example/",
            "http://environment.example/npm/",
        ),
        ({"NPM_CONFIG_REGISTRY": "http://environment.example/npm/"}, "", "http://environment.example/npm/"),
        ({"npm_config_registry": ""}, "; mine\nregistry = http://npmrc.example/\n", "http://npmrc.example/"),
        ({}, "@scope:registry=http://npmrc.example/\nregistry=\ncafile=x", REGISTRY),
    ],
)
def test_the_registry_is_the_one_that_npm_would_use(environ: dict[str, str], npmrc: str, registry: str) -> None:
    assert registry_of(environ, npmrc, REGISTRY) == registry


@pytest.mark.parametrize("registry", ["http://environment.example/npm", "http://environment.example/npm/"])
def test_a_mirror_has_the_tarballs_below_its_own_address(registry: str, tmp_path: Path) -> None:
    address = "http://environment.example/npm/plot/-/plot-1.0.0.tgz"
    assert at_registry(PLOT.tarball, registry) == address
    shelf = Shelf({address: TARBALL})
    install(locked(PLOT), tmp_path, registry, shelf.fetch)
    assert shelf.asked == [address]


class Registry(BaseHTTPRequestHandler):
    """Fails once at ``/later``, and sends too much at ``/large``."""

    failures = 0

    def do_GET(self) -> None:
        if self.path == "/later" and not Registry.failures:
            Registry.failures += 1
            self.send_error(503)
            return
        body = b"x" * (assets.TARBALL_BYTES + 10 if self.path == "/large" else 10)
        self.send_response(200)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base calls it
        """Say nothing."""


@contextmanager
def registry() -> Iterator[str]:
    """Run a registry; yield its URL."""
    Registry.failures = 0
    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once, and directly."""
    monkeypatch.setattr(assets, "WAIT_S", 0.0)
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.usefixtures("impatient")
def test_what_does_not_come_is_tried_again() -> None:
    with registry() as url:
        assert assets.fetch(f"{url}/later") == b"x" * 10
    assert Registry.failures == 1


@pytest.mark.usefixtures("impatient")
def test_what_is_too_large_is_not_taken() -> None:
    with registry() as url, pytest.raises(CannotInstall, match="is larger than"):
        assets.fetch(f"{url}/large")


@pytest.mark.usefixtures("impatient")
def test_a_registry_that_is_not_there_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with registry() as url:
        gone = url
    monkeypatch.setenv("npm_config_registry", gone)
    assert main(["--into", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert gone in told
    assert told.endswith("The pages work without their charts until this succeeds.\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://mirror/plot.tgz", "plot.tgz"])
def test_only_the_web_is_asked(url: str) -> None:
    with pytest.raises(CannotInstall, match="is no address of a registry"):
        assets.fetch(url)
