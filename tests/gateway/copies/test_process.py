"""The copies process in a loop of its own; ``tests/gateway/control/test_copies_process.py`` has the true one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from gateway.control.messages import Drain
from gateway.copies import process as process_module
from gateway.copies.messages import FromCopies, Listening, Use
from gateway.copies.process import CopiesProcess
from model_pod.wire.frames import Buffer, FrameDecoder
from tests.gateway.copies.shadowed import policy, until


class Supervisor(asyncio.Transport):
    """The supervisor's end of the control channel.

    Attributes:
        heard: what the process told.
        is_broken: nothing can be told any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[FromCopies] = []
        self.is_broken = False
        self._decoder: FrameDecoder[FromCopies] = FrameDecoder(cast(Any, FromCopies))

    def writelines(self, pieces: Iterable[Buffer]) -> None:
        if self.is_broken:
            raise RuntimeError("the handler is closed")
        self.heard += [message for message, _ in self._decoder.feed(b"".join(pieces))]

    def get_write_buffer_size(self) -> int:
        return 0


def test_a_process_that_could_not_listen_does_so_once_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process_module, "_LISTEN_AGAIN_S", 0.0)
    state = tmp_path / "state"

    async def story() -> None:
        supervisor = Supervisor()
        process = CopiesProcess(asyncio.get_running_loop(), state)
        process.on_control(supervisor)
        process.on_message(Use(1), [memoryview(msgspec.msgpack.encode(policy(routes={})))])
        for _ in range(10):
            await asyncio.sleep(0)
        listening = Listening(str(state / "copies.sock"))
        assert listening not in supervisor.heard
        state.mkdir()
        await until(lambda: listening in supervisor.heard)
        process.on_supervisor_gone()
        await process.done

    asyncio.run(story())
    assert capsys.readouterr().err.count("no copies are taken until") == 1


def test_a_process_that_is_to_leave_does_though_something_fails_on_the_way(tmp_path: Path) -> None:
    async def story() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        supervisor = Supervisor()
        process = CopiesProcess(asyncio.get_running_loop(), tmp_path)
        process.on_control(supervisor)
        supervisor.is_broken = True
        process.on_message(Drain(0.0, 0.0), [])
        async with asyncio.timeout(20.0):
            await process.done

    asyncio.run(story())
