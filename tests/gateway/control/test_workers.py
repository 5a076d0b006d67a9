"""True worker processes over the true control socket, with a scripted program in the worker's place."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from gateway.control import restarts
from gateway.control import workers as workers_module
from gateway.control.generation_switch import GenerationSwitch, NobodyPrepared, Vetoed
from gateway.control.generations import NOBODY_PREPARED
from gateway.control.listeners import bound_address, listen
from gateway.control.messages import WAIT_EDGES_S, Counts, Pods, PodView, Revoked, Waits
from gateway.control.worker_process import WorkerSpec, ending
from gateway.control.workers import GenerationBlob, Workers, with_ended
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from tests.fakes.told import Told
from tests.gateway.policy import limits_memory

FAKE = (sys.executable, str(Path(__file__).parents[2] / "fakes" / "worker.py"))
# A worker that is told off by signal is told within this; a silent one takes the switch's whole second.
SOON_S = 20.0


def generation(number: int, script: str = "behave") -> GenerationBlob:
    return GenerationBlob(number, msgspec.msgpack.encode(Snapshot(number, f"d{number}", Mesh(script))))


class Crew:
    """Two workers, a spare, and the address at which they answer."""

    def __init__(self, workers: Workers, told: Told, address: str) -> None:
        self.workers = workers
        self.told = told
        self.address = address
        self.switch = GenerationSwitch(workers)

    async def spare_is_ready(self) -> None:
        """Wait for the spare, which is what lets a place be filled at once."""
        async with asyncio.timeout(SOON_S):
            while (spare := self.workers.spare) is None or not spare.has_counted:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)

    async def ask(self) -> str:
        """Return what a worker answers: its pid, generation and pods."""
        host, _, port = self.address.rpartition(":")
        async with asyncio.timeout(SOON_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            answer = (await reader.read()).decode()
            writer.close()
            await writer.wait_closed()
        return answer


def with_crew(story: Callable[[Crew], Coroutine[None, None, None]], first: GenerationBlob | None = None) -> Told:
    """Play a story on running workers, then drain them."""

    async def play() -> Told:
        told = Told()
        limits_fd = limits_memory()
        with await listen("127.0.0.1:0") as listening:
            spec = WorkerSpec((listening.fileno(),), limits_fd, 2, FAKE)
            workers = Workers(spec, first or generation(1), told)
            crew = Crew(workers, told, bound_address(listening))
            workers.start_all()
            try:
                await story(crew)
            finally:
                await workers.drain(0.0, 2.0)
                os.close(limits_fd)
            assert workers.running == []
        return told

    return asyncio.run(play())


async def both_accept(crew: Crew) -> None:
    await crew.told.lines_with("accepts requests", 2)


def test_workers_start_with_the_generation_in_force_and_the_pods() -> None:
    async def story(crew: Crew) -> None:
        crew.workers.show_pods(Pods((PodView("d/1/0", "d", "1", "unix:/p", PodState.READY, was_ready=True),)))
        await both_accept(crew)
        assert "generation=1 pods=ready" in await crew.ask()

    with_crew(story)


def test_a_generation_is_in_force_on_every_worker_when_the_switch_returns() -> None:
    async def story(crew: Crew) -> None:
        await both_accept(crew)
        await crew.switch.to(generation(2))
        assert [worker.generation for worker in crew.workers.running] == [2, 2]

    with_crew(story)


def test_a_vetoed_generation_changes_nothing_and_the_next_one_can_follow() -> None:
    async def story(crew: Crew) -> None:
        await both_accept(crew)
        with pytest.raises(Vetoed, match="not to my taste"):
            await crew.switch.to(generation(2, "refuse"))
        assert crew.workers.in_force.number == 1
        await crew.switch.to(generation(3))
        assert "generation=3" in await crew.ask()

    with_crew(story)


def test_a_generation_that_kills_workers_is_vetoed_and_their_successors_keep_the_old_one() -> None:
    async def story(crew: Crew) -> None:
        await both_accept(crew)
        with pytest.raises(NobodyPrepared, match=NOBODY_PREPARED):
            await crew.switch.to(generation(2, "die"))
        assert "generation=1" in await crew.ask()

    assert any("exited with status 7" in line for line in with_crew(story).lines)


def test_a_generation_on_which_workers_hang_is_vetoed_and_the_workers_replaced() -> None:
    async def story(crew: Crew) -> None:
        await both_accept(crew)
        with pytest.raises(Vetoed, match=NOBODY_PREPARED):
            await crew.switch.to(generation(2, "hang"))
        await crew.told.lines_with("died of SIGKILL, replaced", 2)
        assert "generation=1" in await crew.ask()

    with_crew(story)


def test_workers_that_are_still_starting_at_a_switch_accept_with_the_new_generation() -> None:
    async def story(crew: Crew) -> None:
        while len(crew.workers.running) < 2:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        assert crew.workers.accepting == []
        await crew.switch.to(generation(2))
        await both_accept(crew)
        assert "generation=2" in await crew.ask()
        await crew.switch.to(generation(3))
        assert [worker.generation for worker in crew.workers.running] == [3, 3]

    with_crew(story)


def test_a_stopped_spare_is_killed_before_anybody_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "TICK_S", 0.4)  # six of them are longer than the second between two counts

    async def story(crew: Crew) -> None:
        await both_accept(crew)
        await crew.spare_is_ready()
        watch = asyncio.create_task(crew.workers.watch())
        spare = crew.workers.spare
        assert spare is not None
        os.kill(spare.pid, signal.SIGSTOP)
        await crew.told.line(f"{spare} died of SIGKILL; it was the spare")
        watch.cancel()

    assert any("has said nothing for" in line for line in with_crew(story).lines)


def test_the_counts_of_ended_workers_stay() -> None:
    kept: list[Workers] = []

    async def story(crew: Crew) -> None:
        kept.append(crew.workers)
        await both_accept(crew)
        for _ in range(3):
            await crew.ask()

    with_crew(story)
    assert kept[0].ended.requests == 3


def test_what_ended_workers_refused_is_summed_by_reason_and_nothing_of_them_runs() -> None:
    first = Counts(3, {"key_unknown": 1}, in_flight=1, connections=2, waiting=5, retries=2, ejected=1)
    second = Counts(4, {"key_unknown": 2, "rate_limited": 1}, in_flight=0, connections=1, retries=1, retries_refused=4)
    assert with_ended(with_ended(Counts(0, {}, 0, 0), first), second) == Counts(
        7, {"key_unknown": 3, "rate_limited": 1}, in_flight=0, connections=0, retries=3, retries_refused=4
    )


def test_what_ended_workers_waited_and_ejected_is_summed_and_their_links_are_gone() -> None:
    waits = Waits("digits", "gold", (1,) * (len(WAIT_EDGES_S) + 1), 0.5)
    last = Counts(0, {}, 0, 0, waits=(waits,), ejections={"digits": 2}, links=3)
    ended = with_ended(with_ended(Counts(0, {}, 0, 0), last), last)
    assert (ended.waits[0].sum_s, ended.ejections, ended.links) == (1.0, {"digits": 4}, 0)


def test_a_start_that_fails_during_the_drain_keeps_nobody_from_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> int:
        raise RuntimeError("no descriptor for this one")

    async def story(crew: Crew) -> None:
        await both_accept(crew)
        monkeypatch.setattr(os, "pidfd_open", refuse)
        await asyncio.sleep(0)  # the spare's process is started, and not watched yet

    with_crew(story)


def test_a_worker_is_told_how_many_share_a_pod_with_it() -> None:
    command = WorkerSpec((5,), limits_fd=4, worker_count=3).arguments(index=0, control_fd=7)
    assert command[command.index("--worker-count") + 1] == "3"


def test_a_worker_is_told_which_of_its_sockets_have_tls() -> None:
    command = WorkerSpec((5,), limits_fd=4, worker_count=1, tls_fds=(6, 7)).arguments(index=0, control_fd=8)
    given = [(name, value) for name, value in itertools.pairwise(command) if name.endswith("-fd")]
    assert given == [
        ("--control-fd", "8"),
        ("--listen-fd", "5"),
        ("--tls-fd", "6"),
        ("--tls-fd", "7"),
        ("--limits-fd", "4"),
    ]


def test_what_is_kept_told_reaches_workers_that_start_later_and_the_newest_of_a_key_counts() -> None:
    async def story(crew: Crew) -> None:
        crew.workers.keep_told("revoked", Revoked(("a",)))
        crew.workers.keep_told("other", Revoked(("b",)))
        await both_accept(crew)
        assert "revoked=b\n" in await crew.ask()
        await crew.spare_is_ready()
        crew.workers.keep_told("other", Revoked(("c",)))
        for worker in crew.workers.running:  # the spare takes one place, a worker that is started now the other
            os.kill(worker.pid, signal.SIGKILL)
        await crew.told.line("replaced in")
        async with asyncio.timeout(SOON_S):
            while len(crew.workers.accepting) < 2:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
        assert "revoked=c\n" in await crew.ask()

    with_crew(story)


def test_the_spare_takes_a_killed_worker_s_place_with_the_newest_generation() -> None:
    async def story(crew: Crew) -> None:
        await both_accept(crew)
        await crew.spare_is_ready()
        await crew.switch.to(generation(2))
        spare, victim = crew.workers.spare, crew.workers.running[0]
        assert spare is not None
        os.kill(victim.pid, signal.SIGKILL)
        line = await crew.told.line("died of SIGKILL, replaced in")
        assert line.startswith(f"worker {victim.index} (pid {victim.pid})")
        assert line.endswith(str(spare))
        assert {worker.generation for worker in crew.workers.running} <= {2, 0}
        await crew.spare_is_ready()

    with_crew(story)


def test_a_connection_made_while_every_worker_is_dead_is_answered_by_a_successor() -> None:
    async def story(crew: Crew) -> None:
        await both_accept(crew)
        await crew.spare_is_ready()
        dead = [worker.pid for worker in crew.workers.running]
        assert crew.workers.spare is not None
        for pid in [*dead, crew.workers.spare.pid]:
            os.kill(pid, signal.SIGKILL)
        answer = await crew.ask()
        assert not any(f"pid={pid} " in answer for pid in dead)

    with_crew(story)


def test_workers_that_die_at_once_are_started_ever_less_often() -> None:
    async def story(crew: Crew) -> None:
        await crew.told.line("the next start is in 0.2 s")

    lines = with_crew(story, generation(1, "die")).lines
    pauses = [line.rpartition("in ")[2] for line in lines if "the next start" in line]
    assert pauses[:2] == ["0.1 s", "0.2 s"]


def test_a_program_that_is_not_there_is_said_and_tried_again() -> None:
    async def story() -> None:
        told = Told()
        workers = Workers(WorkerSpec((), 0, 1, ("/no/such/program",)), generation(1), told)
        workers.start_all()
        await told.line("cannot be started: No such file or directory")
        await workers.drain(0.0, 1.0)

    asyncio.run(story())


def test_an_ending_is_said_in_words() -> None:
    assert [ending(0), ending(3), ending(-9), ending(-64 - 9)] == [
        "exited with status 0",
        "exited with status 3",
        "died of SIGKILL",
        "died of signal 73",
    ]


def test_a_spare_that_makes_way_for_a_younger_one_is_no_death(monkeypatch: pytest.MonkeyPatch) -> None:
    deaths: list[float] = []

    def count(before: int, lived_s: float) -> int:
        deaths.append(lived_s)
        return before + 1

    monkeypatch.setattr(restarts, "count_quick_deaths", count)

    async def story(crew: Crew) -> None:
        await both_accept(crew)
        for times in range(1, 4):
            await crew.spare_is_ready()
            assert crew.workers.relief(crew.workers.next_serial) is None
            await crew.told.lines_with("it was not needed any more", times)
        await crew.spare_is_ready()

    with_crew(story)
    assert deaths == []
