"""Addresses and listening sockets."""

from __future__ import annotations

import asyncio
import os

import pytest

from gateway.control import listeners
from gateway.control.listeners import Listeners, ListenRefused, bound_address, listen, split_address, url
from policies.snapshot import Listen, Mesh


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
    assert bound.inference_addresses == [bound_address(bound.inference[0])]
    assert not bound.management_addresses[0].endswith(":0")
    assert bound.metrics_addresses == [bound_address(bound.metrics[0])]
    assert not os.get_inheritable(bound.inference[0].fileno())
    assert bound.differ_from(Mesh("m"))
    assert not bound.differ_from(mesh)
    for listening in (*bound.inference, *bound.management, *bound.metrics):
        listening.close()


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
