"""What a report says beside its figures."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.benchmarks.report import build_flags, cpu_model, describe_run, read_commit, table


def test_the_processor_is_named_by_the_kernel() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: Xeon(R) 2.10GHz\nmodel name\t: other\n") == "Xeon(R) 2.10GHz"


def test_a_kernel_that_names_no_processor_is_no_error() -> None:
    assert cpu_model("processor\t: 0\nBogoMIPS\t: 50.00\n") == "unnamed processor"


def test_an_interpreter_s_build_is_read_from_its_flags() -> None:
    assert build_flags("'--enable-optimizations' '--with-lto'") == "PGO, LTO"
    assert build_flags("'--enable-shared'") == "no PGO, no LTO"


def test_a_run_says_when_what_and_where() -> None:
    names = [line.split()[0] for line in describe_run().splitlines()]
    assert names == ["date", "commit", "machine", "interpreter"]


def test_a_folder_outside_git_has_no_commit(tmp_path: Path) -> None:
    assert read_commit(tmp_path).startswith("none")


def test_a_changed_file_shows_beside_the_commit(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    commit = read_commit(tmp_path)
    (tmp_path / "new").touch()
    assert len(commit) == 12
    assert read_commit(tmp_path) == f"{commit} with local changes"


def test_a_table_lines_up() -> None:
    assert table(("name", "n"), (("nginx", "1"), ("us", "100"))).splitlines() == [
        "name     n",
        "-----  ---",
        "nginx    1",
        "us     100",
    ]
