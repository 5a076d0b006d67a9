"""Which control groups a process is in, as the kernel tells it."""

from __future__ import annotations

from pathlib import Path

from telemetry.control_groups import V1, V2, Group, groups_of

MOUNTS = """\
24 1 0:22 / /sys rw - sysfs sysfs rw
33 24 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
34 24 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
"""


def test_each_controller_has_its_own_groups_the_innermost_first(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    (tmp_path / "proc/7").mkdir()
    (tmp_path / "proc/7/cgroup").write_text("2:cpu,cpuacct:/a/b\n0::/u\n")
    cpu, unified = tmp_path / "sys/fs/cgroup/cpu,cpuacct", tmp_path / "sys/fs/cgroup/unified"
    above = [Group(unified / "u", V2), Group(unified, V2)]
    below = [Group(cpu / "a/b", V1), Group(cpu / "a", V1), Group(cpu, V1)]
    assert list(groups_of(tmp_path, "cpu", "7")) == [*below, *above]
    assert list(groups_of(tmp_path, "memory", "7")) == above


def test_a_process_that_is_gone_has_none(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    assert list(groups_of(tmp_path, "cpu", "8")) == []
