"""The page of commands in the docs is the generated one, and every command and argument on it has a meaning."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from deploy.cli import COMMANDS
from deploy.reference import commands_markdown, parsers_of

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "commands.md"


def test_the_page_is_what_the_parsers_say() -> None:
    assert PAGE.read_text() == commands_markdown(), "run: python -m deploy.reference > docs/reference/commands.md"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_in_its_section(command: str) -> None:
    for parser in parsers_of(command):
        section = commands_markdown().partition(f"# `{parser.prog}`\n")[2].partition("\n## ")[0]
        common = commands_markdown().partition("\n## Which mesh\n")[2].partition("\n## ")[0]
        told = set(re.findall(r"`(-[\w-]+)", section)) | set(re.findall(r"`(-[\w-]+)", common))
        options = {name for action in parser._actions for name in action.option_strings}
        assert options - told == {"-h", "--help"}


def test_every_argument_has_a_meaning() -> None:
    rows = [line for line in commands_markdown().splitlines() if line.startswith(("| `", "| **"))]
    assert len(rows) > 100
    assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_after_that_arguments_are_read_as_before() -> None:
    read = argparse.ArgumentParser.parse_args
    parsers_of("slo")
    assert argparse.ArgumentParser.parse_args is read
