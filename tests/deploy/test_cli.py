"""``penstock``: which command runs, what it imports, and its exit codes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest

from deploy.cli import COMMANDS, main
from telemetry.logs.log import FORMAT_VARIABLE, SETTINGS_VARIABLE


def test_help_names_every_command_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == list(COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, deploy.cli\n"
        "deploy.cli.main(['--help'])\n"
        "heavy = {'torch', 'fastapi', 'httpx', 'asyncio', 'msgspec', 'yaml', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_every_command_is_there() -> None:
    for command in COMMANDS.values():
        if command.is_program:
            assert util.find_spec(f"{command.module}.__main__") is not None
        else:
            assert callable(importlib.import_module(command.module).run)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["bogus"],
        ["up", "--workers", "0"],
        ["policy"],
        ["policy", "check"],
        ["model", "load"],
        ["status", "--bogus"],
        ["gateway"],
        ["pod", "--bogus"],
    ],
)
def test_a_mistake_in_the_arguments_is_2_and_says_so_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["penstock"])
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: " in said.err


def test_version_says_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith("penstock ")
    assert main(["version", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"penstock", "python", "torch"}


def test_version_may_be_asked_for_as_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == main(["--version"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


def test_policy_check_passes_the_demo_and_fails_a_planted_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "check", "policies/demo"]) == 0
    (tmp_path / "mesh.yaml").write_text("kind: mesh/v1\nnaem: x\n")
    assert main(["policy", "check", str(tmp_path)]) == 1
    assert "mesh.yaml:2:" in capsys.readouterr().err


def test_up_without_its_policy_directory_is_a_sentence_with_the_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in (FORMAT_VARIABLE, SETTINGS_VARIABLE):  # which it sets for its children, here for later tests
        monkeypatch.setenv(variable, "")
    assert main(["up", "--policies", str(tmp_path / "none"), "--state", str(tmp_path / "state")]) == 1
    assert "name one with --policies" in capsys.readouterr().err
