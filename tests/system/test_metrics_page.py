"""Whatever a process of a true mesh shows to Prometheus is on the page of metrics, with its type and labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from telemetry.conventions import TS_BY_CLASS, TS_LATENCY, TS_REQUESTS
from telemetry.reference import HEAD
from tests.system.mesh import ROOT, eventually, running_mesh
from tests.system.seen import hub_of

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PAGE = ROOT / "docs" / "reference" / "metrics.md"
TORCHSERVES = {TS_REQUESTS, TS_LATENCY, *TS_BY_CLASS.values()}
# What Prometheus' text format adds to a histogram's name and labels, and who made it.
_SUFFIXES = ("_bucket", "_count", "_sum")


def test_every_series_of_every_process_is_on_the_page(tmp_path: Path, model_store: Path) -> None:
    told = _told()
    with running_mesh(tmp_path, model_store) as mesh:
        assert mesh.api.get("/predictions/none").status_code == 404
        targets = mesh.state / "prometheus-targets.json"
        eventually(lambda: len(_targets(targets)) == 2, "both sidecars are listed")
        hub = hub_of(mesh).dashboards
        places = [f"{mesh.published().metrics}/metrics", f"{hub}/metrics"]
        places += [f"http://{target}/metrics" for target in _targets(targets)]
        for place in places:
            shown = list(_shown(mesh.api.get(place, headers={"accept": "text/plain"}).raise_for_status().text))
            assert len(shown) > 5
            for name, kind, labels in shown:
                assert (name, kind) in {(name, kind) for name, kind, _ in told}, (place, name, kind)
                assert any(labels <= its for its_name, _, its in told if its_name == name), (place, name, labels)


def _told() -> set[tuple[str, str, frozenset[str]]]:
    """Name, type and labels of each row of the page."""
    assert HEAD in PAGE.read_text()
    rows = [line.split("|") for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {(row[1].strip().strip("`"), row[2].strip(), frozenset(re.findall(r"\w+", row[4]))) for row in rows}


def _targets(file: Path) -> list[str]:
    if not file.exists():
        return []
    return [target for group in json.loads(file.read_text()) for target in group["targets"]]


def _shown(text: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Name, type and labels of each series of ours, a histogram's buckets as one."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    for name, labels in re.findall(r"^(\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        whole = next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.removesuffix(suffix) in kinds), name)
        if whole not in TORCHSERVES:
            names = frozenset(re.findall(r'(\w+)="(?:[^"\\]|\\.)*"', labels))
            yield whole, kinds.get(whole, ""), names - {"le"}
