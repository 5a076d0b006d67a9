"""Control groups of both versions, as the kernel shows them, in a directory of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.dataplane.memory import PLENTY, MemoryGauge

V2_MOUNT = "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNTS = """\
24 1 0:22 / /sys rw - sysfs sysfs rw
33 24 0:29 {inside} /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
34 24 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"""
UNBOUNDED_V1 = "9223372036854771712"


def lay_out(root: Path, own: str, mounts: str) -> None:
    """Write what the kernel tells a process of its groups."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own + "\n")
    (root / "proc/self/mountinfo").write_text(mounts + "\n")


def v2_group(root: Path, below: str, *, used: int, limit: str, inactive: int = 0) -> None:
    path = root / "sys/fs/cgroup" / below
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.current").write_text(f"{used}\n")
    (path / "memory.max").write_text(f"{limit}\n")
    (path / "memory.stat").write_text(f"anon 5\nfile 7\ninactive_file {inactive}\nactive_file 1\n")


def v1_group(root: Path, below: str, *, used: int, limit: str, inactive: int = 0) -> None:
    path = root / "sys/fs/cgroup/memory" / below
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.usage_in_bytes").write_text(f"{used}\n")
    (path / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (path / "memory.stat").write_text(f"cache 5\ninactive_file 1\ntotal_inactive_file {inactive}\n")


def test_version_2_in_a_namespace_of_its_own(tmp_path: Path) -> None:
    lay_out(tmp_path, "0::/", V2_MOUNT)
    v2_group(tmp_path, "", used=600, limit="1000")
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.6)


def test_of_nested_groups_the_fullest_counts_and_one_without_a_limit_does_not(tmp_path: Path) -> None:
    lay_out(tmp_path, "0::/pods.slice/gateway", V2_MOUNT)
    v2_group(tmp_path, "pods.slice", used=800, limit="1000")
    v2_group(tmp_path, "pods.slice/gateway", used=700, limit="max")
    gauge = MemoryGauge(tmp_path)
    assert gauge.read().used_ratio == pytest.approx(0.8)
    v2_group(tmp_path, "pods.slice/gateway", used=700, limit="750")
    assert gauge.read().used_ratio == pytest.approx(700 / 750)


def test_pages_that_could_be_given_back_at_once_are_not_used_memory(tmp_path: Path) -> None:
    lay_out(tmp_path, "0::/", V2_MOUNT)
    v2_group(tmp_path, "", used=980, limit="1000", inactive=500)
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.48)


def test_version_1_in_a_container_whose_mount_is_its_own_group(tmp_path: Path) -> None:
    lay_out(tmp_path, "5:cpu:/docker/abc\n4:memory:/docker/abc", V1_MOUNTS.format(inside="/docker/abc"))
    v1_group(tmp_path, "", used=960, limit="1000", inactive=10)
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.95)


def test_version_1_on_the_machine_itself_where_a_group_above_is_bounded(tmp_path: Path) -> None:
    lay_out(tmp_path, "4:memory:/user/gateway", V1_MOUNTS.format(inside="/"))
    v1_group(tmp_path, "", used=10**9, limit=UNBOUNDED_V1)
    v1_group(tmp_path, "user", used=500, limit="1000")
    v1_group(tmp_path, "user/gateway", used=400, limit=UNBOUNDED_V1)
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.5)


def test_memory_of_version_1_beside_an_empty_mount_of_version_2(tmp_path: Path) -> None:
    hybrid = "32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" + V1_MOUNTS.format(inside="/")
    lay_out(tmp_path, "4:memory:/a\n0::/a", hybrid)
    (tmp_path / "sys/fs/cgroup/unified/a").mkdir(parents=True)
    v1_group(tmp_path, "a", used=500, limit="1000")
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.5)


def test_a_group_that_a_namespace_hides_is_read_at_its_mount(tmp_path: Path) -> None:
    lay_out(tmp_path, "0::/../../other", V2_MOUNT)
    v2_group(tmp_path, "", used=300, limit="1000")
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.3)


def test_without_control_groups_or_with_one_that_goes_away_nothing_is_bounded(tmp_path: Path) -> None:
    assert MemoryGauge(tmp_path / "nowhere").read().used_ratio == 0.0
    lay_out(tmp_path, "0::/", V2_MOUNT)
    v2_group(tmp_path, "", used=600, limit="1000")
    gauge = MemoryGauge(tmp_path)
    (tmp_path / "sys/fs/cgroup/memory.current").unlink()
    assert gauge.read().used_ratio == 0.0


def test_this_machine_can_be_read() -> None:
    assert MemoryGauge().read().used_ratio >= 0.0


def test_a_mount_without_a_source_hides_no_other(tmp_path: Path) -> None:
    sourceless = "30 24 0:26 / /x rw - tmpfs  rw,size=10k\n32 24 0:28 / /sys/fs/cgroup/cpu rw - cgroup  rw,cpu\n"
    lay_out(tmp_path, "4:memory:/", sourceless + "33 24 0:29 / /sys/fs/cgroup/memory rw - cgroup  rw,memory")
    v1_group(tmp_path, "", used=600, limit="1000")
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.6)


@pytest.mark.parametrize("line", ["", "31", "31 24 - cgroup2", "31 24 0:27 / - cgroup2 cgroup2 rw", " - "])
def test_what_no_kernel_says_bounds_nothing_and_stops_nobody(tmp_path: Path, line: str) -> None:
    lay_out(tmp_path, "0::/", line)
    assert MemoryGauge(tmp_path).read().used_ratio == 0.0
    (tmp_path / "proc/self/cgroup").write_text("not a group\n")
    assert MemoryGauge(tmp_path).read().used_ratio == 0.0


def test_a_space_in_the_place_of_a_mount_is_read(tmp_path: Path) -> None:
    lay_out(tmp_path, "0::/", r"31 24 0:27 / /sys/fs/cgroup/a\040b rw - cgroup2 cgroup2 rw")
    v2_group(tmp_path, "a b", used=600, limit="1000")
    assert MemoryGauge(tmp_path).read().used_ratio == pytest.approx(0.6)


def test_a_full_group_whose_statistics_cannot_be_read_counts_as_full(tmp_path: Path) -> None:
    lay_out(tmp_path, "0::/", V2_MOUNT)
    v2_group(tmp_path, "", used=980, limit="1000", inactive=500)
    gauge = MemoryGauge(tmp_path)
    (tmp_path / "sys/fs/cgroup/memory.stat").unlink()
    assert gauge.read().used_ratio == pytest.approx(0.98)


def test_what_is_left_is_counted_up_to_where_requests_are_refused_in_the_fullest_group(tmp_path: Path) -> None:
    lay_out(tmp_path, "0::/a", V2_MOUNT)
    v2_group(tmp_path, "a", used=300, limit="1000")
    gauge = MemoryGauge(tmp_path)
    assert gauge.read().left_bytes == pytest.approx(620)
    v2_group(tmp_path, "a", used=700, limit="1000", inactive=500)  # nearly all of it files that nobody uses
    assert gauge.read().left_bytes == pytest.approx(720)
    v2_group(tmp_path, "a", used=950, limit="1000")
    assert gauge.read().left_bytes == pytest.approx(-30)
    v2_group(tmp_path, "a", used=950, limit="max")
    assert gauge.read() == PLENTY
