"""Certificates in files: what is taken, what is kept out, and when either is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.control.certificates import Certificate, KeptOut, Taken, dns_names
from gateway.tls import TlsMaterial, TlsRefused
from policies.snapshot.mesh import ClientCerts, Listen, Tls
from tests.certificates import Authority

AUTHORITY = Authority()
FIRST, SECOND = AUTHORITY.server("first.example"), AUTHORITY.server("second.example", "*.Pool.example")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FIRST.write(tmp_path / "tls.crt", tmp_path / "tls.key")
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.pem)
    return tmp_path


def listen(folder: Path) -> Listen:
    tls = Tls(f"file:{folder}/tls.crt", f"file:{folder}/tls.key")
    return Listen("127.0.0.1:0", "inference", tls, ClientCerts(True, f"file:{folder}/ca.crt"))


def test_a_listener_is_given_what_its_files_hold(folder: Path) -> None:
    certificate = Certificate(listen(folder))
    assert certificate.material == TlsMaterial(FIRST.cert, FIRST.key, AUTHORITY.pem, True)
    assert certificate.names == ("first.example",)
    assert certificate.pem.encode() == FIRST.cert
    assert certificate.look() is None


def test_secrets_may_be_kept_in_the_environment(folder: Path) -> None:
    environ = {"CERT": FIRST.cert.decode(), "KEY": FIRST.key.decode()}
    asked = Listen("127.0.0.1:0", "admin", Tls("env:CERT", "env:KEY"))
    assert Certificate(asked, environ).material == TlsMaterial(FIRST.cert, FIRST.key)
    with pytest.raises(TlsRefused, match="the environment variable KEY is not set"):
        Certificate(asked, environ | {"KEY": ""})


def test_a_chain_names_what_its_first_certificate_names() -> None:
    assert dns_names(SECOND.cert + AUTHORITY.pem) == ("second.example", "*.pool.example")
    assert dns_names(AUTHORITY.client().cert) == ()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda folder: (folder / "tls.key").unlink(), "tls.key cannot be read: No such file"),
        (lambda folder: (folder / "tls.crt").write_bytes(b""), "tls.crt is empty"),
        (lambda folder: (folder / "tls.crt").write_bytes(b"x" * 2**21), "longer than 1 MiB"),
        (lambda folder: (folder / "tls.key").write_bytes(SECOND.key), "not the certificate's"),
        (lambda folder: (folder / "ca.crt").write_bytes(b"x"), "authorities"),
    ],
)
def test_what_cannot_be_used_keeps_a_start_from_happening_and_a_listener_from_changing(
    spoil: object, why: str, folder: Path
) -> None:
    assert callable(spoil)
    certificate = Certificate(listen(folder))
    spoil(folder)
    with pytest.raises(TlsRefused, match=why):
        Certificate(listen(folder))
    assert certificate.look() is None  # it may be half written
    told = certificate.look()
    assert isinstance(told, KeptOut)
    assert why in told.why
    assert certificate.look() is None
    assert certificate.material.cert == FIRST.cert


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o640 | 0o002, 0o666, 0o777])
def test_a_key_that_others_may_read_or_change_is_refused_until_they_may_not(folder: Path, mode: int) -> None:
    certificate = Certificate(listen(folder))
    (folder / "tls.key").chmod(mode)
    with pytest.raises(TlsRefused, match=f"tls.key is a private key with mode {mode:04o}: `chmod 0600"):
        Certificate(listen(folder))
    assert certificate.look() is None
    assert isinstance(certificate.look(), KeptOut)
    SECOND.write(folder / "tls.crt", folder / "tls.key")
    assert certificate.look() is None
    (folder / "tls.key").chmod(0o600)
    assert isinstance(certificate.look(), Taken)


def test_a_key_may_be_read_by_its_group_and_a_certificate_by_all(folder: Path) -> None:
    (folder / "tls.key").chmod(0o440)
    (folder / "tls.crt").chmod(0o644)
    assert Certificate(listen(folder)).material.key == FIRST.key


def test_another_pair_is_taken_when_both_files_are_there_and_nothing_is_said_between_them(folder: Path) -> None:
    certificate = Certificate(listen(folder))
    (folder / "tls.crt").write_bytes(SECOND.cert)
    assert certificate.look() is None
    (folder / "tls.key").write_bytes(SECOND.key)
    assert certificate.look() == Taken(TlsMaterial(SECOND.cert, SECOND.key, AUTHORITY.pem, True))
    assert certificate.names == ("second.example", "*.pool.example")
    assert certificate.look() is None


def test_a_pair_that_is_swapped_in_by_a_link_is_taken(tmp_path: Path) -> None:
    """As Kubernetes replaces secrets."""
    for name, issued in (("one", FIRST), ("two", SECOND)):
        (tmp_path / name).mkdir()
        issued.write(tmp_path / name / "tls.crt", tmp_path / name / "tls.key")
    (tmp_path / "data").symlink_to("one")
    asked = Listen("127.0.0.1:0", "admin", Tls(f"file:{tmp_path}/data/tls.crt", f"file:{tmp_path}/data/tls.key"))
    certificate = Certificate(asked)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(tmp_path / "data")
    assert certificate.look() == Taken(TlsMaterial(SECOND.cert, SECOND.key))


def test_files_that_are_touched_and_say_the_same_change_nothing(folder: Path) -> None:
    certificate = Certificate(listen(folder))
    os.utime(folder / "tls.crt", ns=(1, 1))
    assert certificate.look() is None
    assert certificate.look() is None


def test_a_mistake_that_is_mended_before_it_is_told_is_never_told(folder: Path) -> None:
    certificate = Certificate(listen(folder))
    (folder / "tls.key").write_bytes(b"half")
    assert certificate.look() is None
    (folder / "tls.key").write_bytes(FIRST.key)
    assert certificate.look() is None
    assert certificate.look() is None


def test_what_the_disk_refused_once_is_taken_though_nobody_writes_it_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate(listen(folder))
    SECOND.write(folder / "tls.crt", folder / "tls.key")
    with monkeypatch.context() as refusing:
        refusing.setattr(Path, "open", refuse)
        assert certificate.look() is None
        assert certificate.look() == KeptOut(f"{folder}/tls.crt cannot be read: Too many open files")
        assert certificate.look() is None
    assert isinstance(certificate.look(), Taken)
    assert certificate.look() is None


def refuse(path: Path, mode: str) -> NoReturn:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))
