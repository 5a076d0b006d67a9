"""What one sidecar reads of true processes of this machine, and that those which end are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from telemetry.sidecar.account import PodAccount, State
from telemetry.sidecar.machine.processes import PROCESSES
from telemetry.sidecar.machine.reader import THOROUGH_EVERY_S, Reader, Reading
from telemetry.sidecar.machine.reading import MachineFiles
from tests.telemetry.sidecar.machine.test_reading import write
from tests.telemetry.sidecar.machine.test_texts import STAT, SYSTEM

_TITLED = "import sys, setproctitle; setproctitle.setproctitle(sys.argv[1]); print(flush=True); sys.stdin.read()"


@contextmanager
def titled(title: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of that title."""
    argv = [sys.executable, "-c", _TITLED, title]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def account(server: int, inference: int) -> PodAccount:
    return PodAccount("digits", "1", State.READY, 0, 0, 0, 0.5, pid=server, inference_pid=inference)


def shown(reading: Reading) -> set[tuple[str, ...]]:
    """Return process, model, version and pid of each process that is told of."""
    return {
        sample.labels[:4]
        for sample in reading.samples
        if sample.metric.name == "penstock_process_resident_memory_bytes"
    }


def test_a_pod_s_processes_are_told_of_until_they_end() -> None:
    own = ("sidecar", "digits", "1", str(os.getpid()))
    reader = Reader(MachineFiles(), None, has_pod=True)
    with titled("penstock pod digits/1 server") as server:
        server_is = ("pod server", "digits", "1", str(server.pid))
        with titled("penstock pod digits/1 inference") as inference:
            told = account(server.pid, inference.pid)
            inference_is = ("pod inference", "digits", "1", str(inference.pid))
            assert shown(reader.read(told, 0.0)) == {own, server_is, inference_is}
        assert shown(reader.read(told, 5.0)) == {own, server_is}
    assert shown(reader.read(told, 10.0)) == {own}
    assert shown(reader.read(None, 10.0)) == {("sidecar", "", "", str(os.getpid()))}


def test_a_number_that_is_another_process_here_is_not_told_of() -> None:
    """As in containers of their own, where the pod's server is 1 and so is the sidecar."""
    with titled("penstock pod other/1 server") as other, titled("penstock pod digits/1 server") as server:
        reader = Reader(MachineFiles(), None, has_pod=True)
        for pids in ((os.getpid(), os.getpid()), (other.pid, server.pid), (0, 0)):
            assert {process for process, *_ in shown(reader.read(account(*pids), 0.0))} == {"sidecar"}


def test_proportional_memory_is_read_seldom_and_told_meanwhile(tmp_path: Path) -> None:
    place = tmp_path / "proc/1285"
    write(place, {"stat": STAT, "cmdline": "penstock sidecar gateway\0", "smaps_rollup": "Pss: 4 kB\n"})
    write(tmp_path / "proc", {"stat": SYSTEM})
    reader = Reader(MachineFiles(tmp_path), None, has_pod=False, own=1285)

    def proportional(now_s: float) -> list[object]:
        told = reader.read(None, now_s).samples
        return [each.value for each in told if each.metric.name.endswith("proportional_memory_bytes")]

    assert proportional(0.0) == [4096.0]
    (place / "smaps_rollup").write_text("Pss: 8 kB\n")
    assert proportional(5.0) == [4096.0]
    assert proportional(THOROUGH_EVERY_S) == [8192.0]
    (place / "stat").write_text(STAT.replace("7189570", "7189999"))  # the number is another process's now
    (place / "smaps_rollup").write_text("Pss: 2 kB\n")
    assert proportional(THOROUGH_EVERY_S + 5.0) == [2048.0]


def test_there_are_at_most_so_many_processes(tmp_path: Path) -> None:
    write(tmp_path / "proc", {"stat": SYSTEM})
    write(tmp_path / "proc/1285", {"stat": STAT.replace("1270", "0", 1), "cmdline": "penstock sidecar gateway\0"})
    for pid in range(2000, 2000 + PROCESSES + 9):
        child = STAT.replace("1285", str(pid)).replace("S 1270", "S 1285")
        write(tmp_path / f"proc/{pid}", {"stat": child, "cmdline": f"penstock gateway worker {pid}\0"})
    reading = Reader(MachineFiles(tmp_path), None, has_pod=False, own=1285).read(None, 0.0)
    assert len(shown(reading)) == PROCESSES
    assert reading.left_out == 10


def test_the_whole_machine_is_read_only_where_it_is_asked_for(tmp_path: Path) -> None:
    for whole, is_told in ((tmp_path, True), (None, False)):
        reading = Reader(MachineFiles(), whole, has_pod=True).read(None, 0.0)
        names = {sample.metric.name for sample in reading.samples}
        assert ("penstock_host_cpus" in names, "penstock_state_disk_bytes" in names) == (is_told, is_told)
        assert bool(reading.stats) == is_told
