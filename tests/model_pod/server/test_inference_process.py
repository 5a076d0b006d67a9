"""The true inference process as the operating system sees it: whom its end takes along, and whom it does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess

import pytest

from model_pod.server.inference_process import EngineChild
from tests.model_pod.server.harness import run


def _join_group(group: int) -> subprocess.Popen[bytes]:
    """Start what a handler may start: a process of the same group that has no end of its own."""
    return subprocess.Popen(["sleep", "60"], process_group=group)


def test_a_process_that_ends_takes_its_group_along_and_its_number_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            child = EngineChild(theirs)
            left_behind = _join_group(child.pid)
            os.kill(child.pid, signal.SIGKILL)
            assert await child.ended() == "SIGKILL"
            assert left_behind.wait(5) == -signal.SIGKILL
        signalled: list[int] = []
        monkeypatch.setattr(os, "killpg", lambda group, _: signalled.append(group))
        child.kill()
        assert signalled == []

    run(scenario())
