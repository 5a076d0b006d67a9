"""The true copies process under its keeper, with pods on Unix sockets and a worker's connection to it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.control.copies_desk import CopiesDesk
from gateway.control.copies_process import COPIES_LEFT, CopiesKeeper, CopiesSpec, wants_copies
from gateway.control.messages import CopiesAt
from gateway.control.workers import GenerationBlob
from gateway.copies.compare.comparison import Comparison
from gateway.copies.kept import read_kept
from gateway.copies.messages import CopyCounts, LateLabel, LateLabels
from gateway.copies.reports import ShadowReport
from model_pod.wire.frames import encode
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Privacy, Recording, Shadow
from policies.snapshot.route import Route, Version
from tests.fakes.link_pod import LinkPod, Script
from tests.fakes.told import Told
from tests.gateway.copies.requests import answered
from tests.gateway.copies.shadowed import ANSWER, BODY, crash, hang, policy, say, until, views
from tests.system.processes import family

pytestmark = pytest.mark.system
SECRET = "planted-3c1f"
DARK = Shadow("dark", "2", 1.0)


class Kept:
    """A keeper, its desk, and what it told of.

    Attributes:
        paths: that workers were told, "" for none.
        told: lines for people.
    """

    def __init__(self, state: Path, shadow: LinkPod) -> None:
        self.state = state
        self.shadow = shadow
        self.paths: list[str] = []
        self.told = Told()
        self.desk = CopiesDesk()
        self.keeper = CopiesKeeper(
            CopiesSpec(state), self.desk, lambda at: self.paths.append(at.path), self.told, _left(state)
        )
        self.running = asyncio.create_task(self.keeper.run())
        self._number = 0
        self._writers: list[asyncio.StreamWriter] = []

    def follow(self, snapshot: Snapshot) -> None:
        """Go by this generation from now on."""
        self._number += 1
        generation = GenerationBlob(self._number, msgspec.msgpack.encode(snapshot))
        self.keeper.follow(lambda: generation, snapshot)

    async def listening(self, times: int = 1) -> None:
        """Wait until workers have been told where it listens for so many times."""
        await until(lambda: sum(map(bool, self.paths)) >= times)

    async def tell(self, *frames: tuple[msgspec.Struct, list[bytes]]) -> asyncio.StreamReader:
        """Connect as a worker does, and tell."""
        reader, writer = await asyncio.open_unix_connection(self.paths[-1])
        for message, blobs in frames:
            writer.writelines(encode(message, blobs))
        await writer.drain()
        self._writers.append(writer)
        return reader

    async def ask(self, count: int = 1, body: bytes = BODY, **changed: Any) -> None:
        """Tell of so many requests that were answered."""
        frames = []
        for _ in range(count):
            self._number += 1
            told = answered(request_id=f"{self._number:032x}", **({"shadows": ("dark",)} | changed))
            frames.append((told, [body, ANSWER]))
        await self.tell(*frames)

    @property
    def report(self) -> ShadowReport | None:
        """What the shadow has come to, as it was told last."""
        return next(iter(self.desk.reports), None)

    async def compared(self, count: int) -> ShadowReport:
        """Wait until so many were compared."""
        await until(lambda: self.report is not None and self.report.compared >= count)
        assert self.report is not None
        return self.report

    def pid(self) -> int:
        """Return whose title says that it is the copies process, among our children."""
        (pid,) = (
            child
            for child in family(os.getpid())
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"penstock gateway copies")
        )
        return pid

    async def end(self) -> None:
        """Drain it."""
        await self.keeper.drain()
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def kept(state: Path, script: Script, *, snapshot: Snapshot | None = None) -> AsyncIterator[Kept]:
    async with LinkPod(state / "pod.sock", script) as pod:
        it = Kept(state, pod)
        it.keeper.show_pods(views(("2", pod)))
        it.follow(snapshot or policy())
        try:
            yield it
        finally:
            await it.end()


def run(tmp_path: Path, test: Callable[[Kept], Awaitable[None]], script: Script, **how: Any) -> None:
    async def body() -> None:
        async with kept(tmp_path, script, **how) as it:
            await it.listening()
            await test(it)

    asyncio.run(body())


def test_it_has_its_name_gives_way_and_lets_only_its_user_in(tmp_path: Path) -> None:
    async def test(it: Kept) -> None:
        assert os.getpriority(os.PRIO_PROCESS, it.pid()) == 10
        assert os.stat(it.paths[-1]).st_mode & 0o777 == 0o600

    run(tmp_path, test, say(ANSWER))


def test_copies_are_sent_and_what_they_come_to_is_told(tmp_path: Path) -> None:
    async def test(it: Kept) -> None:
        await it.ask(5)
        report = await it.compared(5)
        assert (report.differ, report.answers.both_good) == (0, 5)
        await until(lambda: it.desk.counts.copies.get("digits") == {"dark": {"compared": 5}})
        assert len(it.shadow.seen) == 5

    run(tmp_path, test, say(ANSWER))


@pytest.mark.parametrize("script", [hang, crash])
def test_a_shadow_that_hangs_or_crashes_has_failed(tmp_path: Path, script: Script) -> None:
    async def test(it: Kept) -> None:
        await it.ask(3)
        report = await it.compared(3)
        assert report.answers.only_shadow_failed == 3

    run(tmp_path, test, script, snapshot=policy(Shadow("dark", "2", 1.0, deadline_s=0.2)))


def test_one_that_is_killed_is_started_again_with_what_it_had_kept(tmp_path: Path) -> None:
    async def test(it: Kept) -> None:
        await it.ask(5)
        await it.compared(5)
        await until(lambda: kept_count(it.state) == 5)
        first = it.pid()
        os.kill(first, signal.SIGKILL)
        await it.listening(2)
        assert it.paths[-2:] == ["", str(it.state / "copies.sock")]
        assert it.pid() != first
        await it.ask(2)
        await it.compared(7)

    run(tmp_path, test, say(ANSWER))


def test_nothing_is_started_where_policy_wants_no_copies_and_it_leaves_when_it_wants_none_any_more(
    tmp_path: Path,
) -> None:
    bare = Snapshot(1, "", policy().mesh, routes={"digits": Route("digits", "vision", {"1": Version("1")}, "1")})
    assert not wants_copies(bare)

    async def body() -> None:
        async with kept(tmp_path, say(ANSWER), snapshot=bare) as it:
            await asyncio.sleep(0.2)
            assert (it.paths, it.desk.is_up) == ([], False)
            it.follow(policy(Shadow("dark", "2", 1.0)))
            await it.listening()
            await it.ask(1, is_recorded=True)
            await it.compared(1)
            await until((it.state / "shadows.kept").exists)
            it.follow(bare)
            await until(lambda: not it.desk.is_up)
            assert it.paths[-1] == ""
            assert not any(path.exists() and (path.is_file() or any(path.iterdir())) for path in _left(it.state))
            it.follow(policy())
            await it.listening(2)

    asyncio.run(body())


def test_a_worker_that_tells_nonsense_is_cut_off_and_others_go_on(tmp_path: Path) -> None:
    async def test(it: Kept) -> None:
        await it.ask(1)
        for reader in (
            await it.tell((answered(shadows=("dark",)), [b"one body"])),
            await it.tell((answered(shadows=("dark",)), [b"x" * (2**20 + 1), b""])),
            await it.tell((CopyCounts({}, {}, {}), [])),
        ):
            assert await reader.read() == b""
        await it.ask(1)
        await it.compared(2)

    run(tmp_path, test, say(ANSWER))


def test_late_labels_meet_answers_and_the_supervisor_hears_of_it(tmp_path: Path) -> None:
    async def test(it: Kept) -> None:
        heard: list[Any] = []
        it.desk.on_labelled.append(heard.extend)
        await it.ask(1, is_labelled=True, at_s=time.time())
        await it.compared(1)
        asked = f"{it._number:032x}"
        await it.tell((LateLabels("ads", (LateLabel(asked, "7", 0.0),)), []))
        await until(lambda: bool(heard))
        assert [(event.version, event.is_right) for event in heard] == [("1", True)]
        await until(lambda: it.report is not None and it.report.labels.both_right == 1)

    run(tmp_path, test, say(ANSWER))


def test_recorded_requests_are_replayed(tmp_path: Path) -> None:
    async def test(it: Kept) -> None:
        await it.ask(3, shadows=(), is_recorded=True)
        await until(lambda: it.desk.counts.recordings.get("digits") == {"recorded": 3})
        assert it.desk.counts.recorded_bytes["digits"] > 0
        number = it.desk.ask_replay("digits", "2", "dark").number

        def is_over() -> bool:
            report = it.desk.replay("digits", number)
            return report is not None and report.state != "running"

        await until(is_over)
        report = it.desk.replay("digits", number)
        assert report is not None
        assert (report.state, report.sent) == ("done", 3)
        it.desk.forget("digits", "")
        await until(lambda: it.desk.counts.recorded_bytes.get("digits", 0) == 0)

    run(tmp_path, test, say(ANSWER))


def test_a_planted_secret_is_nowhere_in_what_is_sent_or_kept(tmp_path: Path) -> None:
    privacy = Privacy(drop_headers=("x-user-id",), drop_fields=("/ssn", "/rows/*/ssn"), keep="bodies")
    route = msgspec.structs.replace(
        policy().routes["digits"],
        shadows=(Shadow("dark", "2", 1.0, privacy=privacy),),
        record=Recording(1.0, drop_headers=privacy.drop_headers, drop_fields=privacy.drop_fields),
    )

    async def test(it: Kept) -> None:
        planted = SECRET.encode()
        fields = ((b"X-User-Id", planted), (b"Authorization", planted), (b"content-type", b"application/json"))
        how: dict[str, Any] = {"fields": fields, "is_recorded": True, "is_labelled": True}
        body = b'{"ssn": "%b", "rows": [{"ssn": "%b", "x": 1}], "x": 7}' % (planted, planted)
        await it.ask(3, body, target=f"/predictions/digits?ssn={SECRET}", **how)
        await it.ask(3, b"\x89" + planted, **how)
        await it.ask(3, b'{"x": "%b"}' % planted, tenant="bank", **how)
        await it.compared(3)
        await until(lambda: bool(it.report and it.report.not_copied.get("no_consent") == 3))
        await until(lambda: bool(it.report and it.report.not_copied.get("not_redactable") == 3))
        for stream in it.shadow.seen:
            assert planted not in stream.body
            assert SECRET not in repr(stream.request)
        assert len(it.shadow.seen) == 3
        await it.end()
        files = [path for path in it.state.rglob("*") if path.is_file()]
        assert {"shadows.kept", "labels.db"} <= {path.name for path in files}
        assert [path.name for path in files if planted in path.read_bytes()] == []

    run(tmp_path, test, say(b'{"label": 8}'), snapshot=policy(routes={"digits": route}))


def test_a_process_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    async def body() -> None:
        told = Told()
        keeper = CopiesKeeper(CopiesSpec(tmp_path, program=("/nowhere",)), CopiesDesk(), _untold, told)
        keeper.follow(lambda: GenerationBlob(1, b""), policy())
        running = asyncio.create_task(keeper.run())
        await until(lambda: len(told.lines) >= 2)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert all("cannot be started" in line for line in told.lines)

    asyncio.run(body())


def kept_count(state: Path) -> int:
    """Return how many copies were compared, by what is on the disk."""
    one = read_kept(state).get(("digits", "dark"))
    return 0 if one is None else Comparison.restored(one.comparison, DARK, "digits", 1).report(0.0).compared


def _left(state: Path) -> tuple[Path, ...]:
    return tuple(state / name for name in COPIES_LEFT)


def _untold(at: CopiesAt) -> None:
    raise AssertionError(at)
