"""Commands in documents: each exists, with these arguments; each URL answers; what needs no mesh is run."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy import cli
from deploy.reference import parsers_of, with_actions
from gateway.api_reference import HEALTH, api_markdown
from gateway.dataplane.answers import is_health_path
from gateway.decide.route import match_path
from tests.commands_in_docs import PAGES, ROOT, Shown, shown_in, synopses_in
from tests.walkthrough import not_printed

SHOWN = [shown for page in PAGES for shown in shown_in(page)]
OURS = [shown for shown in SHOWN if shown.line.startswith("penstock ")]
CURL = [shown for shown in SHOWN if shown.line.startswith("curl ")]
# What asks no mesh, as far as its arguments go.
_ALONE = re.compile(
    r"policy (check|fmt|test|seal|schema)\b|policy explain .*--policies|policy plan .*--against"
    r"|slo simulate (?!.*(--last|POLICIES))|slo export|key new|version$"
)
_FLAGS = {"-s", "-S", "-sS", "-i", "-N"}
_OPTIONS = {"-H", "-d", "-D", "-T", "-X", "-o", "--unix-socket"}


class Parsed(Exception):
    """A command line was understood; what it would do is not done."""


def understand(words: Sequence[str], monkeypatch: pytest.MonkeyPatch, *, is_whole: bool = True) -> None:
    """Parse a command as its own module does; one that is not whole may lack what must be there.

    Raises:
        SystemExit: it is not understood, or asks for help.
        Parsed: it is.
    """
    program, *arguments = words
    assert program == "penstock"
    options = cli._parser().parse_args(arguments)
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, args: Sequence[str] | None = None) -> argparse.Namespace:
        for parser in with_actions(self):
            _ease(parser, is_whole)
        parse_args(self, args)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    cli.run_command(options.command, options.arguments)


def _ease(parser: argparse.ArgumentParser, is_whole: bool) -> None:
    for action in parser._actions:
        action.required = action.required and is_whole
        if action.metavar == "FILE":
            action.type = None  # some are read at once, and are on the reader's machine
    for group in parser._mutually_exclusive_groups:
        group.required = group.required and is_whole


@pytest.mark.parametrize("shown", OURS, ids=lambda shown: shown.name)
def test_every_command_is_understood(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    # A sentence names a command, and leaves some of its arguments to the reader.
    with pytest.raises((Parsed, SystemExit)) as understood:
        understand(shown.words, monkeypatch, is_whole=shown.is_typed)
    assert not isinstance(understood.value, SystemExit) or "--help" in shown.words


def test_a_command_that_does_not_exist_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("penstock mend it", "penstock rollout undo MODEL", "penstock slo --quickly"):
        with pytest.raises(SystemExit), monkeypatch.context() as patch:
            understand(wrong.split(), patch)


def test_documents_show_many_of_them_and_every_command_but_those_of_containers() -> None:
    assert len(OURS) > 150
    told = {shown.words[1] for shown in OURS}
    assert set(cli.COMMANDS) - told <= {"gateway", "pod", "hub", "sidecar"}


@pytest.mark.parametrize("page", [page for page in PAGES if synopses_in(page)], ids=lambda page: page.stem)
def test_a_synopsis_has_every_option_of_its_program_and_no_other(page: Path) -> None:
    for synopsis in synopses_in(page):
        (parser,) = parsers_of(synopsis.split()[1])
        options = {name for action in parser._actions for name in action.option_strings}
        assert set(re.findall(r"--[a-z][\w-]*", synopsis)) == options - {"-h", "--help"}


@pytest.mark.parametrize("shown", CURL, ids=lambda shown: shown.name)
def test_every_url_that_curl_is_given_answers_and_every_body_is_json(shown: Shown) -> None:
    _, *words = shown.words
    rest: list[str] = []
    while words:
        word = words.pop(0)
        if word in _OPTIONS:
            value = words.pop(0)
            if word == "-d" and "…" not in value and not value.startswith("@"):
                json.loads(value)
        elif word not in _FLAGS:
            rest.append(word)
    if rest == ["…"]:
        return  # as above, in the same document
    (url,) = rest
    assert _answers(url), url


def _answers(url: str) -> bool:
    """Whether something answers at a URL of the demo's mesh."""
    parts = urlsplit(url)
    if parts.port == 8081:
        return f"`GET {parts.path}`" in api_markdown() or f"`POST {parts.path}`" in api_markdown()
    if parts.port == 8080:
        return match_path(parts.path) is not None or is_health_path(parts.path)
    return parts.path in ("/metrics", "/livez", "/machine", *HEALTH)


def _pages_with_what_is_run() -> list[Path]:
    alone = {shown.page for shown in OURS if shown.is_typed and _ALONE.match(" ".join(shown.words[1:]))}
    return sorted(alone - {ROOT / "docs" / "tutorial.md"})  # which is walked through


@pytest.mark.parametrize("page", _pages_with_what_is_run(), ids=lambda page: page.stem)
def test_what_needs_no_mesh_is_run_in_its_order_and_succeeds(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    for shown in shown_in(page):
        words = shown.words[1:]
        if shown.is_typed and _ALONE.match(" ".join(words)):
            assert cli.main([_here(word) for word in words]) == 0, (shown.line, capsys.readouterr())
            printed = capsys.readouterr().out
            assert not_printed([line for line in shown.printed if line != "…"], printed) == "", printed


def _lay_out(home: Path) -> None:
    """Lay out what the documents' commands speak of: the demo's policies, a copy with a tenant ``ads``."""
    shutil.copytree(ROOT / "policies" / "demo", home / "policies" / "demo")
    for name in ("DIR", "my-policies"):
        shutil.copytree(ROOT / "policies" / "demo", home / name)
        tenant = (home / name / "tenants" / "demo.yaml").read_text()
        (home / name / "tenants" / "ads.yaml").write_text(tenant.replace("name: demo", "name: ads", 1))


def _here(word: str) -> str:
    """Return a word, with a place on the reader's machine put below the folder at hand."""
    return word.removeprefix("/") if re.match(r"/(etc|var)/", word) else word


def test_every_target_of_make_and_every_module_that_is_to_be_run_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets, page
        for module in re.findall(r"\bpython -m ((?:deploy|gateway|model_pod|policies|telemetry|tests)[.\w]*)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), (page, module)
