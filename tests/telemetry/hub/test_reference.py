"""The page of the hub's API in the docs is the generated one, and has every path that answers programs."""

from __future__ import annotations

from pathlib import Path

from telemetry.hub.query import parse
from telemetry.hub.reference import MEANINGS, hub_api_markdown

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "hub-api.md"


def test_the_page_is_what_the_routes_say() -> None:
    assert PAGE.read_text() == hub_api_markdown(), "run: python -m telemetry.hub.reference > docs/reference/hub-api.md"


def test_every_path_has_one_row_and_every_row_is_of_a_path_that_answers() -> None:
    page = hub_api_markdown()
    rows = [line for line in page.splitlines() if line.startswith("| GET | `/")]
    assert [row.split("`")[1] for row in rows] == list(dict.fromkeys(row.split("`")[1] for row in rows))
    assert {row.split("`")[1] for row in rows} == set(MEANINGS)


def test_every_filter_that_the_page_names_is_one() -> None:
    told = hub_api_markdown().partition("Filters of traces: ")[2].partition("\n\n")[0]
    names = {name for name in told.split("`")[1::2] if name not in ("ok", "error")}
    assert names == {
        *("name", "model", "version", "tenant", "status", "reason", "min_ms", "max_ms"),
        *("q", "since", "until", "limit", "cursor"),
    }
    values = {"status": "ok", "cursor": f"1.{'0' * 32}"}
    assert parse({name: values.get(name, "1") for name in names}).limit == 1
