"""Runbooks: there is one for each alert, each can be found, fits a screen, and has commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.commands_in_docs import DOCS, ROOT, shown_in

RUNBOOKS = sorted((DOCS / "runbooks").glob("*.md"))
MOST_LINES = 70
SECTIONS = ["## Look at first", "## Mend it", "## It is over when"]
_LINK = re.compile(r"\]\((?!https?://|#)([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_has_its_parts_in_order_commands_and_the_length_of_a_screen(page: Path) -> None:
    text = page.read_text()
    assert "**What it means.**" in text
    assert [line for line in text.splitlines() if line.startswith("## ")] == SECTIONS
    assert len(shown_in(page)) >= 3
    assert len(text.splitlines()) <= MOST_LINES


def test_every_page_is_linked_from_the_list_of_documents() -> None:
    start = DOCS / "README.md"
    linked = {(DOCS / target).resolve() for target in _LINK.findall(start.read_text())}
    expected = {page for page in DOCS.rglob("*.md") if page.parent.name != "decisions"} - {start}
    assert expected - linked == set()
    assert str(Path("docs/README.md")) in (ROOT / "README.md").read_text()


def test_every_alert_of_an_objective_has_a_runbook() -> None:
    workbook = tomllib.loads((ROOT / "policies" / "workbook.toml").read_text())
    needed = {f"slo-{alert['name'].replace(' ', '-')}" for alert in workbook["alert"]}
    assert needed <= {page.stem for page in RUNBOOKS}
