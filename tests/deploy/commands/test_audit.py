"""``penstock audit`` on logs that a gateway of this machine left."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.cli import main
from gateway.control.audit.files import FOLDER
from gateway.control.audit.log import AuditLog


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory with a log of three changes, and no mesh that runs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    log = AuditLog(tmp_path / "state", lambda _: None)
    log.record("key:ops-1", "key.revoke", "key-a", {}, "leaked")
    log.record("local", "quota.grant", "tenant/ads/quota/month", {"amount": 1000})
    log.record("key:ops-1", "key.revoke", "key\x1b[2Jb", {}, "r" * 100)
    log.close()
    return tmp_path / "state"


def test_a_whole_log_is_ok(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--state", str(state)]) == 0
    assert capsys.readouterr().out == "ok: 4 records in 1 file, 1 checkpoints, the last of them record 4\n"
    assert main(["audit", "verify", "--state", str(state), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["records"], told["signed_to"], told["fault"]) == (True, 4, 4, None)


def change_second(folder: Path) -> None:
    log = folder / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"1000", b"9000"))


def cut_the_end(folder: Path) -> None:
    log = folder / "audit.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))


def lose_the_copies(folder: Path) -> None:
    (folder / "checkpoints.jsonl").unlink()


@pytest.mark.parametrize(
    ("spoil", "place", "problem", "proven"),
    [
        (change_second, "audit.jsonl:2: ", "its hash is ", "still proven: records 1 to 1\n"),
        (cut_the_end, "audit.jsonl:2: ", "lines are missing", "still proven: records 1 to 2\n"),
        (lose_the_copies, "checkpoints.jsonl: ", "is missing", "nothing is proven\n"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_is_still_proven(
    state: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    place: str,
    problem: str,
    proven: str,
) -> None:
    spoil(state / FOLDER)
    assert main(["audit", "verify", "--state", str(state)]) == 1
    told = capsys.readouterr().err
    assert place in told
    assert problem in told
    assert told.endswith(proven)
    assert main(["audit", "verify", "--state", str(state), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_files_that_were_taken_elsewhere_are_checked_with_what_is_beside_them_or_named(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken.jsonl"
    taken.write_bytes((state / FOLDER / "audit.jsonl").read_bytes())
    key = ["--public-key", str(state / FOLDER / "checkpoint-key.pub.pem")]
    assert main(["audit", "verify", "--file", str(taken), *key]) == 0
    assert "records missing at the end would not show" in capsys.readouterr().out
    taken.write_bytes(b"".join(taken.read_bytes().splitlines(keepends=True)[:3]))
    assert main(["audit", "verify", "--file", str(taken), *key]) == 0
    capsys.readouterr()
    copies = str(state / FOLDER / "checkpoints.jsonl")
    assert main(["audit", "verify", "--file", str(taken), "--checkpoints", copies, *key]) == 1
    assert "lines are missing" in capsys.readouterr().err


def test_the_newest_changes_are_shown_and_steer_no_terminal(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "show", "--state", str(state), "--last", "3"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["N", "AT", "ACTOR", "ACTION", "SUBJECT", "GENERATION", "REASON", "OR", "DETAIL"]
    assert [row.split()[0] for row in rows] == ["2", "3", "4"]
    assert "key?[2Jb" in rows[1]
    assert rows[1].endswith("r…")
    assert main(["audit", "show", "--state", str(state), "--json"]) == 0
    assert [record["n"] for record in json.loads(capsys.readouterr().out)["records"]] == [4, 3, 2, 1]


def test_where_there_is_no_log_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", "--state", str(tmp_path)]) == 1
    assert "there is no audit log" in capsys.readouterr().err
    assert main(["audit", "verify", "--file", str(tmp_path / "none.jsonl")]) == 1
    assert "cannot be read: No such file or directory" in capsys.readouterr().err
    assert main(["audit", "show", "--last", "0"]) == 2
