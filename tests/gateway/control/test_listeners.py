"""Addresses and listening sockets."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from gateway.control import listeners
from gateway.control.listeners import (
    Listener,
    Listeners,
    ListenRefused,
    bound_address,
    listen,
    look_at_certificates,
    split_address,
    url,
)
from policies.snapshot.mesh import ClientCerts, Listen, Mesh, Tls
from tests.certificates import Authority


@pytest.mark.parametrize(("address", "parts"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0))])
def test_an_address_is_split(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["8080", ":8080", "host:", "host:65536", "host:-1", "host:٣"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ListenRefused, match="write HOST:PORT"):
        split_address(address)


def test_the_url_of_every_address_is_one_that_reaches_it() -> None:
    assert url("0.0.0.0:80") == "http://127.0.0.1:80"
    assert url("[::]:80") == "http://[::1]:80"


def test_port_0_is_published_as_the_port_that_was_given() -> None:
    asked = ("inference", "admin", "metrics", "dashboards", "otlp")
    mesh = Mesh("m", tuple(Listen("127.0.0.1:0", serves) for serves in asked))
    bound = asyncio.run(Listeners.bind(mesh))
    assert [len(bound.inference), len(bound.management), len(bound.metrics), len(bound.bound)] == [1, 1, 1, 3]
    assert not bound.management[0].address.endswith(":0")
    assert all(listener.address == bound_address(listener.socket) for listener in bound.bound)
    assert not os.get_inheritable(bound.inference[0].socket.fileno())
    assert bound.differ_from(Mesh("m"))
    assert not bound.differ_from(mesh)
    for listener in bound.bound:
        listener.socket.close()


def test_an_address_that_stays_in_use_is_refused_with_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "BIND_WITHIN_S", 0.0)

    async def twice() -> None:
        with (
            await listen("127.0.0.1:0") as first,
            pytest.raises(ListenRefused, match="write another address under `listen`"),
        ):
            await listen(bound_address(first))

    asyncio.run(twice())


def test_an_address_that_becomes_free_is_waited_for() -> None:
    async def handed_over() -> None:
        first = await listen("127.0.0.1:0")
        address = bound_address(first)
        second = asyncio.create_task(listen(address))
        await asyncio.sleep(0)  # the first attempt fails here
        first.close()
        with await second as listening:
            assert bound_address(listening) == address

    asyncio.run(handed_over())


AUTHORITY = Authority()


def secured(folder: Path, serves: str = "admin", *, required: bool = False) -> Listen:
    AUTHORITY.server("mesh.example").write(folder / "tls.crt", folder / "tls.key")
    (folder / "ca.crt").write_bytes(AUTHORITY.pem)
    tls = Tls(f"file:{folder}/tls.crt", f"file:{folder}/tls.key")
    return Listen("127.0.0.1:0", serves, tls, ClientCerts(required, f"file:{folder}/ca.crt", "san-dns"))


def bound_with(listen: Listen) -> Listener:
    (listener,) = asyncio.run(Listeners.bind(Mesh("m", (listen,)))).bound
    listener.socket.close()
    return listener


def test_a_listener_with_tls_says_so_in_its_url_and_in_what_workers_are_told(tmp_path: Path) -> None:
    listener = bound_with(secured(tmp_path, "inference", required=True))
    assert listener.url.startswith("https://127.0.0.1:")
    assert listener.asks_for_certificates
    told = listener.told
    assert told is not None
    assert (told.cert, told.ca) == ((tmp_path / "tls.crt").read_bytes(), AUTHORITY.pem)
    assert (told.is_required, told.identity_from) == (True, "san-dns")
    assert listener.live is None  # workers make their own
    plain = bound_with(Listen("127.0.0.1:0", "inference"))
    assert (plain.told, plain.asks_for_certificates) == (None, False)
    assert plain.url.startswith("http://")


def test_a_certificate_that_cannot_be_used_keeps_the_address_from_being_listened_on(tmp_path: Path) -> None:
    listen = secured(tmp_path)
    (tmp_path / "tls.key").unlink()
    with pytest.raises(ListenRefused, match=r"cannot listen on 127.0.0.1:0 with TLS: .*tls.key cannot be read"):
        bound_with(listen)


def test_what_became_of_a_certificate_is_said_and_the_listener_shows_the_new_one(tmp_path: Path) -> None:
    listener = bound_with(secured(tmp_path))
    said: list[str] = []
    assert look_at_certificates([listener], said.append) == []
    successor = AUTHORITY.server("successor.example")
    successor.write(tmp_path / "tls.crt", tmp_path / "tls.key")
    assert look_at_certificates([listener], said.append) == [listener]
    assert listener.told is not None
    assert listener.told.cert == successor.cert
    (tmp_path / "tls.key").write_bytes(b"none")
    assert [look_at_certificates([listener], said.append) for _ in range(3)] == [[], [], []]
    assert said == [
        f"{listener.address} shows another certificate from now on",
        f"{listener.address}: the certificate or its key cannot be read; both are to be PEM, and the key not "
        "encrypted; it shows the certificate that it had",
    ]
