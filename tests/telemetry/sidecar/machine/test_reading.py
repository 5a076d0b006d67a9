"""The kernel's files, laid out in a directory of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from telemetry.machine_conventions import MACHINE_METRICS
from telemetry.sidecar.machine.host import Limits, samples_of_group, samples_of_host
from telemetry.sidecar.machine.processes import Who
from telemetry.sidecar.machine.reading import MachineFiles
from telemetry.sidecar.machine.texts import Pressure
from tests.telemetry.sidecar.machine.test_texts import LIMITS, MEMINFO, ROLLUP, STAT, SYSTEM

V2_MOUNT = "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = """\
33 24 0:29 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
34 24 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
"""
SOME = "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"


def write(root: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_of_a_process_all_is_read(tmp_path: Path) -> None:
    status = "voluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t1\n"
    of_process = {"stat": STAT, "status": status, "limits": LIMITS.format(soft=1024), "smaps_rollup": ROLLUP}
    write(tmp_path / "proc/1285", {**of_process, "fd/0": "", "fd/1": "", "cmdline": "penstock gateway worker 0\0"})
    write(
        tmp_path / "proc", {"stat": SYSTEM, "7/stat": STAT.replace("1285 (penstock gatewa)", "7 (bash)"), "8/stat": ""}
    )
    files = MachineFiles(tmp_path)
    stats, titles = files.stats()
    assert (set(stats), titles) == ({7, 1285}, {1285: "penstock gateway worker 0"})
    proportional = files.proportional_bytes(1285)
    running = files.running(stats[1285], Who("gateway worker 0"), files.boot_time_s(), proportional)
    assert running.proportional_bytes == 228 * 1024
    assert (running.max_fds, running.voluntary, running.involuntary) == (1024, 12, 1)
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert (running.user_s, running.system_s) == (1002 * tick_s, 233 * tick_s)
    assert running.started_s == 1795217554.0 + 7189570 * tick_s
    assert running.resident_bytes == 8637 * os.sysconf("SC_PAGE_SIZE")
    assert running.open_fds


def test_what_cannot_be_read_of_a_process_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "proc/1285", {"stat": STAT, "cmdline": "", "limits": "no"})
    files = MachineFiles(tmp_path)
    running = files.running(files.stat(1285), Who("hub"), 0.0, None)
    assert (running.open_fds, running.max_fds, running.voluntary) == (None, None, None)
    assert files.proportional_bytes(1285) is None
    with pytest.raises(OSError):
        files.stat(9)


def test_the_machine_and_its_disk(tmp_path: Path) -> None:
    swap = "SwapTotal: 100 kB\nSwapFree: 60 kB\n"
    write(tmp_path / "proc", {"stat": SYSTEM, "meminfo": MEMINFO + swap, "loadavg": "1 2 3 1/2 3", "pressure/io": SOME})
    write(tmp_path / "proc", {"vmstat": "pgfault 12\noom_kill 6\n", "pressure/memory": "broken"})
    host = MachineFiles(tmp_path).host(tmp_path)
    assert (host.loads, host.oom_kills, host.swap_used_bytes) == ((1.0, 2.0, 3.0), 6, 40 * 1024)
    assert host.pressure == {"io": Pressure(2.5, None)}
    assert host.disk is not None
    assert 0 < host.disk.free_bytes <= host.disk.size_bytes
    told = {sample.metric.name for sample in samples_of_host(host)}
    assert {metric.name for metric in MACHINE_METRICS if metric.name.startswith("penstock_host_")} <= told


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    host = MachineFiles(tmp_path).host(tmp_path / "gone")
    assert [sample.metric.name for sample in samples_of_host(host)] == ["penstock_host_cpus"]


def test_a_group_of_version_2_and_the_one_above_it_that_is_nearer_its_limit(tmp_path: Path) -> None:
    write(tmp_path / "proc", {"self/mountinfo": V2_MOUNT, "1285/cgroup": "0::/pods.slice/digits\n"})
    group = tmp_path / "sys/fs/cgroup/pods.slice"
    write(group, {"memory.max": "1000\n", "cpu.max": "50000 100000\n", "memory.current": "990\n"})
    write(group, {"memory.stat": "anon 5\ninactive_file 190\nactive_file 100\n"})
    write(
        group / "digits",
        {
            "memory.current": "600\n",
            "memory.max": "900\n",
            "memory.events": "low 0\noom 3\noom_kill 2\n",
            "memory.pressure": SOME + SOME.replace("some", "full"),
            "cpu.stat": "usage_usec 9\nnr_throttled 3\nthrottled_usec 1500000\n",
            "cpu.max": "200000 100000\n",
        },
    )
    limits = MachineFiles(tmp_path).limits(1285)
    assert limits == Limits(800, 1000, 2, 1.5, 0.5, {"memory": Pressure(2.5, 2.5)})
    names = {sample.metric.name for sample in samples_of_group(limits)}
    assert names == {metric.name for metric in MACHINE_METRICS if metric.name.startswith("penstock_cgroup_")}


def test_a_group_of_version_1(tmp_path: Path) -> None:
    own = "4:memory:/pods\n2:cpu,cpuacct:/pods\n"
    write(tmp_path / "proc", {"self/mountinfo": V1_MOUNTS, "1285/cgroup": own})
    unbounded = "9223372036854771712\n"
    memory = {"memory.usage_in_bytes": "600\n", "memory.limit_in_bytes": "700\n", "memory.oom_control": "oom_kill 1\n"}
    memory["memory.stat"] = "inactive_file 1\ntotal_inactive_file 200\n"
    cpu = {"cpu.stat": "nr_throttled 1\nthrottled_time 2500000000\n", "cpu.cfs_quota_us": "-1\n"}
    write(tmp_path / "sys/fs/cgroup/memory", {"pods/" + name: text for name, text in memory.items()})
    write(tmp_path / "sys/fs/cgroup/memory", {"memory.limit_in_bytes": unbounded})
    write(tmp_path / "sys/fs/cgroup/cpu/pods", {**cpu, "cpu.cfs_period_us": "100000\n"})
    assert MachineFiles(tmp_path).limits(1285) == Limits(400, 700, 1, 2.5, None, {})


def test_a_group_without_a_limit(tmp_path: Path) -> None:
    write(tmp_path / "proc", {"self/mountinfo": V2_MOUNT, "1285/cgroup": "0::/digits\n"})
    for below, used in (("", "900"), ("digits", "600")):
        write(tmp_path / "sys/fs/cgroup" / below, {"memory.current": used, "memory.max": "max\n"})
    assert MachineFiles(tmp_path).limits(1285) == Limits(memory_bytes=600)


def test_a_machine_without_control_groups(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert MachineFiles(tmp_path).limits(1) == Limits()
