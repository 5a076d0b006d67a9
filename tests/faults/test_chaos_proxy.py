"""The proxy does to bytes exactly what it is told, and nothing when it is told nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.chaos_proxy import HARMLESS, ChaosProxy, Toxics, due_s, pause_s, slices, within_limit

_SOON_S = 10.0
Body = Callable[[ChaosProxy], Awaitable[None]]


@given(st.binary(max_size=300), st.integers(1, 50))
def test_slices_are_the_piece_in_order(piece: bytes, size: int) -> None:
    parts = list(slices(piece, Toxics(slice_bytes=size)))
    assert b"".join(parts) == piece
    assert all(0 < len(part) <= size for part in parts)


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(0, 200))
def test_no_more_than_the_limit_passes_and_nothing_less(pieces: list[bytes], limit: int) -> None:
    passed = b""
    for piece in pieces:
        passed += within_limit(piece, len(passed), Toxics(limit_bytes=limit))
    assert passed == b"".join(pieces)[:limit]


@given(st.floats(0.0, 5.0), st.floats(0.0, 5.0), st.floats(0.0, 1.0))
def test_a_piece_is_late_by_the_latency_give_or_take_the_jitter(latency_s: float, jitter_s: float, draw: float) -> None:
    late_s = due_s(100.0, Toxics(latency_s=latency_s, jitter_s=jitter_s), draw) - 100.0
    assert max(0.0, latency_s - jitter_s) - 1e-9 <= late_s <= latency_s + jitter_s + 1e-9


def test_a_narrow_way_is_busy_for_its_bytes() -> None:
    assert pause_s(500, Toxics(bytes_per_s=1000.0)) == 0.5
    assert pause_s(500, Toxics(slice_bytes=1, slice_pause_s=0.2)) == 0.2
    assert pause_s(500, HARMLESS) == 0.0


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass
    finally:
        writer.close()


@asynccontextmanager
async def proxied_echo(kind: str, folder: Path) -> AsyncIterator[ChaosProxy]:
    """An echo behind a proxy, both on TCP or both on Unix sockets."""
    if kind == "unix":
        server: asyncio.Server = await asyncio.start_unix_server(_echo, str(folder / "echo"))
        listen, upstream = f"unix:{folder}/proxy", f"unix:{folder}/echo"
    else:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        listen, upstream = "127.0.0.1:0", f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, ChaosProxy(listen, upstream) as proxy:
        yield proxy


async def connect(proxy: ChaosProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if proxy.address.startswith("unix:"):
        return await asyncio.open_unix_connection(proxy.address.removeprefix("unix:"))
    host, _, port = proxy.address.rpartition(":")
    return await asyncio.open_connection(host, int(port))


async def echoed(proxy: ChaosProxy, data: bytes) -> bytes:
    """Send, end, and return all that comes back."""
    reader, writer = await connect(proxy)
    try:
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        return await reader.read()
    finally:
        writer.close()


def with_proxy(kind: str, folder: Path, body: Body) -> None:
    async def run() -> None:
        async with asyncio.timeout(_SOON_S), proxied_echo(kind, folder) as proxy:
            await body(proxy)

    asyncio.run(run())


def both_kinds(test: Callable[[ChaosProxy], Coroutine[Any, Any, None]]) -> Callable[[str, Path], None]:
    """Run a test over TCP and over a Unix socket."""

    @pytest.mark.parametrize("kind", ["tcp", "unix"])
    def run(kind: str, tmp_path: Path) -> None:
        with_proxy(kind, tmp_path, test)

    run.__name__ = test.__name__
    return run


@both_kinds
async def test_without_toxics_everything_goes_through(proxy: ChaosProxy) -> None:
    data = bytes(range(256)) * 4000
    assert await echoed(proxy, data) == data


@both_kinds
async def test_slices_and_latency_change_no_byte(proxy: ChaosProxy) -> None:
    proxy.to_upstream = Toxics(latency_s=0.01, jitter_s=0.01, slice_bytes=700)
    proxy.to_client = Toxics(slice_bytes=300)
    data = bytes(range(256)) * 100
    assert await echoed(proxy, data) == data


@both_kinds
async def test_latency_is_in_the_answers_time(proxy: ChaosProxy) -> None:
    proxy.to_client = Toxics(latency_s=0.2)
    began_s = asyncio.get_running_loop().time()
    assert await echoed(proxy, b"x") == b"x"
    assert asyncio.get_running_loop().time() - began_s >= 0.2


@both_kinds
async def test_a_narrow_way_takes_its_time(proxy: ChaosProxy) -> None:
    proxy.to_upstream = Toxics(bytes_per_s=10_000.0, slice_bytes=500)
    began_s = asyncio.get_running_loop().time()
    assert len(await echoed(proxy, b"x" * 3000)) == 3000
    assert asyncio.get_running_loop().time() - began_s >= 0.25


@both_kinds
async def test_a_limit_cuts_the_answer(proxy: ChaosProxy) -> None:
    proxy.to_client = Toxics(limit_bytes=100)
    assert await echoed(proxy, b"x" * 1000) == b"x" * 100


@both_kinds
async def test_the_end_of_a_stream_may_come_late(proxy: ChaosProxy) -> None:
    proxy.to_client = Toxics(slow_close_s=0.2)
    began_s = asyncio.get_running_loop().time()
    assert await echoed(proxy, b"x") == b"x"
    assert asyncio.get_running_loop().time() - began_s >= 0.2


@both_kinds
async def test_a_silent_way_gives_nothing_until_it_speaks_again(proxy: ChaosProxy) -> None:
    proxy.to_client = Toxics(is_silent=True)
    reader, writer = await connect(proxy)
    writer.write(b"hello")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(5), 0.1)
    proxy.to_client = HARMLESS
    assert await reader.readexactly(5) == b"hello"
    writer.close()


@both_kinds
async def test_a_silent_connection_may_be_cut(proxy: ChaosProxy) -> None:
    proxy.to_client = Toxics(is_silent=True, cut_after_s=0.05)
    assert await echoed(proxy, b"hello") == b""


def test_a_reset_is_a_reset(tmp_path: Path) -> None:
    async def body(proxy: ChaosProxy) -> None:
        proxy.to_upstream = Toxics(reset_after_s=0.0)
        reader, writer = await connect(proxy)
        writer.write(b"hello")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()

    with_proxy("tcp", tmp_path, body)


@both_kinds
async def test_while_it_is_down_nobody_connects_and_afterwards_everybody_does(proxy: ChaosProxy) -> None:
    address = proxy.address
    await proxy.down()
    with pytest.raises(OSError, match=r"refused|No such file|Connect call failed"):
        await connect(proxy)
    await proxy.up()
    assert proxy.address == address
    assert await echoed(proxy, b"back") == b"back"


@both_kinds
async def test_connections_are_forgotten_when_they_end(proxy: ChaosProxy) -> None:
    for _ in range(5):
        await echoed(proxy, b"x")
    while proxy.connection_count:  # noqa: ASYNC110 - the proxy tells nobody when one has ended
        await asyncio.sleep(0)
