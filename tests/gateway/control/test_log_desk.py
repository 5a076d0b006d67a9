"""The log desk: changes are recorded, written where every process reads them, and end by themselves."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest

from gateway.control import log_desk
from gateway.control.audit.log import AuditLog
from gateway.control.log_desk import LogDesk
from gateway.control.state_dir import write_private
from model_pod.wire.refusals import Refused
from policies.snapshot.mesh import Logs, Mesh
from telemetry.logs.settings import FILE_NAME, MAX_CHANGED, Changed, LogSettings
from tests.gateway.control.objectives import SNAPSHOT


class Bench:
    """A desk, its files, and a clock that is moved by hand."""

    def __init__(self, state: Path, logs: Logs | None = None) -> None:
        self.state = state
        self.now_s = 1000.0
        self.said: list[str] = []
        self.audit = AuditLog(state, self.said.append)
        self.snapshot = msgspec.structs.replace(SNAPSHOT, mesh=Mesh("demo", logs=logs or Logs()))
        self.desk = LogDesk(state, lambda: self.snapshot, self.audit, self.said.append, lambda: self.now_s)

    @property
    def written(self) -> LogSettings:
        return msgspec.json.decode((self.state / FILE_NAME).read_bytes(), type=LogSettings)

    def change(self, of: str, for_s: float = 60.0) -> None:
        asyncio.run(self.desk.change("local", of, "debug", for_s, "looking"))

    def look(self) -> None:
        asyncio.run(self.desk.look())


def test_a_change_is_written_with_its_end_and_is_on_record(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.change("gateway")
    assert bench.written.changed == (Changed("gateway", "debug", 1060.0),)
    newest, _ = bench.audit.newest(1)
    record = newest[0].record
    assert (record.actor, record.action, record.subject, record.reason) == ("local", "log.level", "gateway", "looking")
    assert [(one.of, one.level) for one in bench.desk.report.changed] == [("gateway", "debug")]


def test_a_change_ends_by_itself_and_that_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.change("digits")
    bench.now_s += 60.0
    bench.look()
    assert bench.written == LogSettings()
    assert bench.said[-1] == "logs of digits are of the usual level again: the time is over"
    assert bench.desk.report.changed == ()


def test_a_change_is_taken_back_before_its_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.change("")
    bench.change("hub")
    asyncio.run(bench.desk.end("local", "", "seen enough"))
    assert bench.written.changed == ()


def test_a_supervisor_that_starts_anew_goes_on_with_what_holds(tmp_path: Path) -> None:
    Bench(tmp_path).change("pods")
    again = Bench(tmp_path)
    again.look()
    assert [one.of for one in again.desk.report.changed] == ["pods"]


def test_policy_says_the_usual_level_and_format(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Logs("json", "warning"))
    bench.look()
    assert bench.written == LogSettings("json", "warning")
    assert bench.desk.report.level == "warning"


def test_whom_nobody_knows_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with pytest.raises(Refused, match="no model of the mesh"):
        bench.change("unknown")
    assert not (tmp_path / FILE_NAME).exists()


def test_one_level_too_many_is_refused_and_no_other_gives_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    routes = {f"model-{number}": SNAPSHOT.routes["digits"] for number in range(MAX_CHANGED + 1)}
    bench.snapshot = msgspec.structs.replace(bench.snapshot, routes=routes)
    first, *_, last = names = list(routes)

    async def all_at_once() -> list[object]:
        changes = (bench.desk.change("local", of, "debug", 60.0, "looking") for of in names)
        return await asyncio.gather(*changes, return_exceptions=True)

    refusal = asyncio.run(all_at_once())[-1]
    assert isinstance(refusal, Refused)
    assert (refusal.reason, "32 levels are changed already" in str(refusal)) == ("too_many_log_levels", True)
    assert [one.of for one in bench.written.changed] == names[:-1]
    assert not any(last in line for line in bench.said)
    asyncio.run(bench.desk.end("local", first, "seen enough"))
    bench.change(last)
    assert [one.of for one in bench.written.changed] == names[1:]


def test_what_is_newer_stays_though_an_older_write_takes_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    newer_is_written = threading.Event()
    order: list[int] = []

    def slow_disk(path: Path, content: bytes) -> None:
        order.append(len(order))
        if len(order) == 1:
            newer_is_written.wait(0.2)
        write_private(path, content)
        if len(order) > 1:
            newer_is_written.set()

    monkeypatch.setattr(log_desk, "write_private", slow_disk)

    async def at_once() -> None:
        await asyncio.gather(*(bench.desk.change("local", of, "debug", 60.0, "looking") for of in ("hub", "pods")))

    asyncio.run(at_once())
    assert [one.of for one in bench.written.changed] == ["hub", "pods"]
    bench.look()
    assert len(order) == 2, "what is written already is not written again"


def test_a_state_directory_that_is_gone_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.look()
    bench.snapshot = msgspec.structs.replace(bench.snapshot, mesh=Mesh("a", logs=Logs(level="error")))
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).mkdir()
    bench.look()
    assert "cannot be written, so levels stay" in bench.said[-1]
