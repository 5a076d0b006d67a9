"""Brings the tables of ``docs/reference/metrics.md`` up to the registries of metrics."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from telemetry.conventions import HUB_METRICS, MESH_METRICS, SIDECAR_METRICS, Metric
from telemetry.machine_conventions import MACHINE_METRICS

PAGE: Final = Path("docs/reference/metrics.md")
HEAD: Final = "| metric | type | unit | labels | meaning |"
SECTIONS: Final[Mapping[str, Sequence[Metric]]] = {
    "## The mesh": MESH_METRICS,
    "## A sidecar": SIDECAR_METRICS,
    "### Processes and the machine": MACHINE_METRICS,
    "## The hub": HUB_METRICS,
}
"""What the table below each heading has. The words around the tables are written by hand."""


def with_tables(page: str) -> str:
    """Return the page with the first table below each of the headings as the registries have it.

    Raises:
        LookupError: a heading is missing, or has no table below.
    """
    lines = page.splitlines()
    for heading, metrics in SECTIONS.items():
        begin, end = _table_below(lines, heading)
        lines[begin:end] = [HEAD, "|---|---|---|---|---|", *map(row, metrics)]
    return "\n".join(lines) + "\n"


def row(metric: Metric) -> str:
    """Return a metric's row."""
    labels = ", ".join(metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.meaning} |"


def _table_below(lines: Sequence[str], heading: str) -> tuple[int, int]:
    """Return where the table of metrics below a heading begins, and where it is over."""
    tables = (number for number in _section(lines, heading) if re.match(r"\| *metric *\|", lines[number]))
    begin = next(tables, None)
    if begin is None:
        raise LookupError(f"{heading!r} has no table of metrics below it")
    end = next((number for number in range(begin, len(lines)) if not lines[number].startswith("|")), len(lines))
    return begin, end


def _section(lines: Sequence[str], heading: str) -> Iterator[int]:
    if heading not in lines:
        raise LookupError(f"there is no heading {heading!r}")
    for number in range(lines.index(heading) + 1, len(lines)):
        if lines[number].startswith("## "):
            return
        yield number


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"usage: python -m telemetry.reference, where {PAGE} is")
    PAGE.write_text(with_tables(PAGE.read_text()))
