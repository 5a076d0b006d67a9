"""The page of reasons in the docs is the generated one, and has every reason once."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.control.callers import REASONS
from gateway.reference import reasons_markdown

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "reasons.md"


def test_the_page_is_what_the_registry_says() -> None:
    assert PAGE.read_text() == reasons_markdown(), "run: python -m gateway.reference > docs/reference/reasons.md"


def test_every_reason_has_one_row_of_five_cells() -> None:
    rows = [line for line in reasons_markdown().splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", row)[0] for row in rows) == sorted(REASONS)
    assert {row.count("|") for row in rows} == {6}


def test_rows_are_sorted_by_status_and_then_by_name() -> None:
    inference = reasons_markdown().partition("## Management API")[0]
    rows = [(int(status), name) for name, status in re.findall(r"^\| `(\w+)` \| (\d+)", inference, re.MULTILINE)]
    assert rows == sorted(rows)
