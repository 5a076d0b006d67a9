"""``penstock slo export``, and the demo's files that it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from deploy.cli import main
from deploy.commands.slo_export import exported
from deploy.prometheus.rule import Places
from policies.load import load_directory

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "policies" / "demo"
FOLDERS = dict.fromkeys(("prometheus", "promtool", "alertmanager", "openslo"), "prometheus") | {"grafana": "grafana"}


@pytest.mark.parametrize("kind", sorted(FOLDERS))
def test_the_files_beside_the_code_are_those_of_the_demo(kind: str) -> None:
    folder = ROOT / "deploy" / FOLDERS[kind]
    for name, text in exported(kind, load_directory(DEMO), Places()).items():
        assert (folder / name).read_bytes() == text, f"penstock slo export {kind} --to deploy/{FOLDERS[kind]}"


def test_one_file_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["slo", "export", "prometheus", "--policies", str(DEMO), "--runbooks", "https://sre.example/books/"]) == 0
    )
    printed = capsys.readouterr().out
    names = [group["name"] for group in yaml.safe_load(printed)["groups"]]
    assert names[:2] == ["penstock-slo-digits-availability", "penstock-slo-digits-latency"]
    assert names[-1] == "penstock-mesh"
    assert "runbook_url: https://sre.example/books/slo-page-fast.md" in printed


def test_several_files_want_a_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["slo", "export", "grafana"]) == 2
    assert "--to DIR" in capsys.readouterr().err
    folder = tmp_path / "new" / "folder"
    assert main(["slo", "export", "grafana", "--to", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        Path(line).name for line in capsys.readouterr().out.split()
    )


def test_a_policy_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["slo", "export", "openslo", "--policies", str(tmp_path / "none")]) == 2
    assert "is not a directory" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert main(["slo", "export", "openslo", "--to", str(tmp_path / "file" / "below")]) == 1
    assert "Not a directory" in capsys.readouterr().err
