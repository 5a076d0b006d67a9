"""The page of metrics in the docs has each metric as the registries have it, and TorchServe's names."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry import conventions, machine_conventions
from telemetry.conventions import TS_BY_CLASS, TS_LATENCY, TS_REQUESTS, Metric
from telemetry.reference import SECTIONS, row, with_tables

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
_ALL = [metric for metrics in SECTIONS.values() for metric in metrics]


def test_the_page_is_what_the_registries_say() -> None:
    assert PAGE.read_text() == with_tables(PAGE.read_text()), "run: python -m telemetry.reference"


def test_every_metric_that_has_a_name_is_on_the_page() -> None:
    modules = (conventions, machine_conventions)
    named = {value.name for module in modules for value in vars(module).values() if isinstance(value, Metric)}
    assert len(named) > 100
    assert named == {metric.name for metric in _ALL}


def test_a_metric_that_several_have_is_told_by_each() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(map(row, _ALL))


def test_torchserves_names_are_told() -> None:
    for name in (TS_REQUESTS, TS_LATENCY, *TS_BY_CLASS.values()):
        assert f"`{name}`" in PAGE.read_text()


def test_a_row_that_is_old_a_row_that_is_missing_and_a_row_too_many_are_mended_and_the_words_stay() -> None:
    page = PAGE.read_text()
    lines = page.splitlines(keepends=True)
    rows = [number for number, line in enumerate(lines) if line.startswith("| `penstock_")]
    lines[rows[1]] = lines[rows[1]].replace("counter", "gauge").replace("gauge", "histogram")
    lines[rows[-1]] = "| `penstock_no_more` | gauge | | Gone. |\n"
    del lines[rows[5]]
    assert "".join(lines) != page
    assert with_tables("".join(lines)) == page


def test_a_page_without_a_heading_or_a_table_is_refused() -> None:
    with pytest.raises(LookupError, match="no heading '## The mesh'"):
        with_tables("# Metrics\n")
    with pytest.raises(LookupError, match="'## The hub' has no table"):
        with_tables(PAGE.read_text().partition("## The hub\n")[0] + "## The hub\n\nWords.\n")
