"""Of all workers that are late, one goes on accepting; who dies rests no more. Each worker is a process of its own."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

import pytest

from gateway.dataplane.rests import Rests

_PROCESSES = multiprocessing.get_context("forkserver")


def _work(path: str, worker_count: int, told: Connection) -> None:
    with open(path, "r+b") as file:
        rests = Rests(file.fileno(), worker_count)
        while (wanted := told.recv()) is not None:
            told.send(rests.rest(wanted))


class Worker:
    """A worker that is told when it wants to rest."""

    def __init__(self, path: str, worker_count: int) -> None:
        self._tell, told = _PROCESSES.Pipe()
        self._process: ForkServerProcess = _PROCESSES.Process(target=_work, args=(path, worker_count, told))
        self._process.start()

    def rests(self, wanted: bool) -> bool:
        self._tell.send(wanted)
        assert self._tell.poll(20.0)
        return bool(self._tell.recv())

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@contextmanager
def workers(count: int) -> Iterator[list[Worker]]:
    with tempfile.NamedTemporaryFile() as file:
        running = [Worker(file.name, count) for _ in range(count)]
        try:
            yield running
        finally:
            for worker in running:
                worker.kill()


@pytest.mark.parametrize("count", [1, 2, 3])
def test_where_all_are_late_one_does_not_rest(count: int) -> None:
    with workers(count) as all_of_them:
        assert [worker.rests(True) for worker in all_of_them] == [True] * (count - 1) + [False]
        assert [worker.rests(True) for worker in all_of_them] == [True] * (count - 1) + [False]


def test_a_rest_that_has_ended_is_there_for_another_one() -> None:
    with workers(2) as (first, second):
        assert first.rests(True)
        assert not second.rests(True)
        assert not first.rests(False)
        assert second.rests(True)
        assert not first.rests(True)


def test_a_worker_that_died_rests_no_more() -> None:
    with workers(2) as (first, second):
        assert first.rests(True)
        first.kill()
        assert second.rests(True)
