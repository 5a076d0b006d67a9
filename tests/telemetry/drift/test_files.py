from __future__ import annotations

from pathlib import Path

import pytest

from policies.snapshot.watching import Drift, Watched
from telemetry.drift.fields import INPUT, Field
from telemetry.drift.files import BadWindows, VersionFiles, read_windows, write_windows
from telemetry.drift.windows import Windows, place_of
from telemetry.stats.sketch import sketched

AGE = place_of(INPUT, "/age")
DRIFT = Drift(1.0, inputs=(Watched("/age"),), outputs=())


def windows(rows: int) -> Windows:
    return {3600: {AGE: Field(rows, measures={"value": sketched([-1.5, 0.0, 4.0])}, kinds={"number": rows})}}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "ranker" / "1" / "0.windows"
    write_windows(path, windows(3), DRIFT.window_s)
    assert read_windows(path).windows == windows(3)
    assert [one.name for one in path.parent.iterdir()] == ["0.windows"]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"\xff" * 100, b"\x92\x63\x80", b"\x92\x01\x81\x00\x81\xa1x\x91\xff"]
)
def test_what_is_no_file_of_ours_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0.windows"
    path.write_bytes(content)
    with pytest.raises(BadWindows):
        read_windows(path)


def test_pods_of_one_version_are_judged_together(tmp_path: Path) -> None:
    for pod in range(2):
        write_windows(tmp_path / "ranker" / "1" / f"{pod}.windows", windows(3), DRIFT.window_s)
    said: list[str] = []
    files = VersionFiles(tmp_path, said.append)
    assert files.windows("ranker", "1", DRIFT.window_s)[3600][AGE].rows == 6
    (tmp_path / "ranker" / "1" / "1.windows").unlink()
    assert files.windows("ranker", "1", DRIFT.window_s)[3600][AGE].rows == 3
    assert files.windows("ranker", "2", DRIFT.window_s) == {}
    assert said == []


def test_a_damaged_file_is_told_and_the_others_count(tmp_path: Path) -> None:
    write_windows(tmp_path / "ranker" / "1" / "0.windows", windows(3), DRIFT.window_s)
    (tmp_path / "ranker" / "1" / "1.windows").write_bytes(b"nonsense")
    said: list[str] = []
    assert VersionFiles(tmp_path, said.append).windows("ranker", "1", DRIFT.window_s)[3600][AGE].rows == 3
    assert len(said) == 1


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "ranker" / "1" / "0.windows"
    files = VersionFiles(tmp_path, lambda trouble: None)
    for rows in (3, 30):
        write_windows(path, windows(rows), DRIFT.window_s)
        assert files.windows("ranker", "1", DRIFT.window_s)[3600][AGE].rows == rows


def test_every_version_that_is_served_is_reported(tmp_path: Path) -> None:
    write_windows(tmp_path / "ranker" / "1" / "0.windows", windows(3), DRIFT.window_s)
    served = {"ranker": frozenset({"1", "2"}), "other": frozenset({"1"})}
    report = VersionFiles(tmp_path, lambda trouble: None).report({"ranker": DRIFT}, served, 99_999.0)
    assert [(one.model, one.version, one.reference_rows) for one in report.versions] == [
        ("ranker", "1", 3),
        ("ranker", "2", 0),
    ]


def test_a_brief_report_of_many_versions_goes_on_where_the_last_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = {"ranker": frozenset({"1", "2"}), "other": frozenset({"1"})}
    watched = dict.fromkeys(served, DRIFT)
    files = VersionFiles(tmp_path, lambda trouble: None)
    monkeypatch.setattr("telemetry.drift.files.BRIEF_WITHIN_S", -1.0)
    nothing = files.brief(watched, served, 1000.0).versions
    assert [(one.model, one.version, one.says, one.judged_s) for one in nothing] == [
        ("other", "1", "", 0.0),
        ("ranker", "1", "", 0.0),
        ("ranker", "2", "", 0.0),
    ]
    monkeypatch.undo()
    assert {one.judged_s for one in files.brief(watched, served, 1000.0).versions} == {1000.0}
    assert {one.judged_s for one in files.brief(watched, served, 1001.0).versions} == {1000.0}
    assert {one.judged_s for one in files.brief(watched, served, 1004.0).versions} == {1004.0}
    assert {one.judged_s for one in files.brief(watched, served, 500.0).versions} == {500.0}
    assert files.brief(watched, {"other": frozenset()}, 501.0).versions == ()


def test_a_pod_that_counts_by_another_length_is_left_out_until_it_follows(tmp_path: Path) -> None:
    for pod, window_s in enumerate((DRIFT.window_s, 300.0)):
        write_windows(tmp_path / "ranker" / "1" / f"{pod}.windows", windows(3), window_s)
    files = VersionFiles(tmp_path, lambda trouble: None)
    assert files.windows("ranker", "1", DRIFT.window_s)[3600][AGE].rows == 3
    assert files.windows("ranker", "1", 60.0) == {}
