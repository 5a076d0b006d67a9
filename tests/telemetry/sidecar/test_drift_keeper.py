from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from policies.snapshot.watching import Drift, Watched
from telemetry.drift.fields import INPUT, Field
from telemetry.drift.files import read_windows, write_windows
from telemetry.drift.windows import place_of
from telemetry.records import PodSummary
from telemetry.sidecar.drift_keeper import EVERY_S, DriftKeeper
from telemetry.sidecar.drops import Drops
from telemetry.stats.sketch import sketched

DRIFT = Drift(1.0, inputs=(Watched("/age"),), outputs=())
AGES = Field(3, measures={"value": sketched([1.0, 2.0, 3.0])}, kinds={"number": 3})
NOW_S = 1_800_000_000.0


def keeper(state: Path, drops: Drops | None = None) -> DriftKeeper:
    (state / "drift.json").write_bytes(msgspec.json.encode({"ranker": DRIFT}))
    path = state / "drift" / "ranker" / "1" / "0.windows"
    return DriftKeeper(path, str(state / "drift.json"), drops or Drops(), 0.0)


def take(kept: DriftKeeper) -> None:
    kept.book.take(PodSummary(5.0, INPUT, "/age", AGES), NOW_S, NOW_S)


def test_what_was_counted_is_there_after_a_restart(tmp_path: Path) -> None:
    first = keeper(tmp_path)
    first.tick(0.0, NOW_S)
    take(first)
    first.tick(EVERY_S, NOW_S)
    second = keeper(tmp_path)
    second.tick(0.0, NOW_S)
    take(second)
    second.save()
    (window,) = read_windows(tmp_path / "drift" / "ranker" / "1" / "0.windows").windows.values()
    assert window[place_of(INPUT, "/age")].rows == 6


def test_it_judges_now_and_again(tmp_path: Path) -> None:
    kept = keeper(tmp_path)
    kept.tick(0.0, NOW_S)
    take(kept)
    kept.tick(EVERY_S / 2, NOW_S)
    assert kept.book.report is not None
    assert kept.book.report.reference_rows == 0
    kept.tick(EVERY_S, NOW_S)
    assert kept.book.report.reference_rows == 3


def test_a_policy_that_ends_it_is_heeded(tmp_path: Path) -> None:
    kept = keeper(tmp_path)
    kept.tick(0.0, NOW_S)
    (tmp_path / "drift.json").write_text("{}")
    kept.tick(1.0, NOW_S)
    assert (kept.book.drift, kept.book.report) == (None, None)


def test_a_damaged_file_is_set_aside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "drift" / "ranker" / "1" / "0.windows"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nonsense")
    drops = Drops()
    kept = keeper(tmp_path, drops)
    assert kept.book.windows == {}
    assert path.with_name("0.windows.broken").read_bytes() == b"nonsense"
    assert [one.labels for one in drops.samples()] == [("windows", "damaged_file")]
    assert "set aside" in capsys.readouterr().err


def test_what_cannot_be_written_is_counted_in_memory_and_written_later(tmp_path: Path) -> None:
    (tmp_path / "drift").write_text("in the way")
    drops = Drops()
    kept = keeper(tmp_path, drops)
    kept.tick(0.0, NOW_S)
    take(kept)
    kept.save()
    assert ("window_saves", "failed") in [one.labels for one in drops.samples()]
    (tmp_path / "drift").unlink()
    kept.save()
    (window,) = read_windows(tmp_path / "drift" / "ranker" / "1" / "0.windows").windows.values()
    assert window[place_of(INPUT, "/age")].rows == 3


def test_drift_is_said_once_and_when_it_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = place_of(INPUT, "/age")
    ages = {age: {place: Field(2000, measures={"value": sketched([age] * 2000)})} for age in (1.0, 9.0)}
    path = tmp_path / "drift" / "ranker" / "1" / "0.windows"
    hours = {0: ages[1.0], **{hour * 3600: ages[9.0] for hour in (24, 25, 26)}}
    write_windows(path, hours, DRIFT.window_s)
    kept = keeper(tmp_path)
    for tick in range(3):
        kept.tick(tick * EVERY_S, NOW_S)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "drift" in line] == [
        "sidecar ranker/1: inputs or outputs have drifted: `penstock drift ranker` shows which"
    ]
    write_windows(path, {**hours, 27 * 3600: ages[1.0]}, DRIFT.window_s)
    kept.tick(3 * EVERY_S, NOW_S)
    assert "inputs and outputs drift no more" in capsys.readouterr().err
