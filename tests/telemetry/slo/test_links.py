"""Links of alerts lead to pages that there are."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from policies.snapshot.mesh import Alerting, Listen, Mesh
from policies.snapshot.slos import Objective
from telemetry.hub.query import parse
from telemetry.slo.alerts import Tier
from telemetry.slo.links import pages_of, runbook, slo_page, trace_page, traces_page
from tests.telemetry.slo.objectives import about_labels, about_loads, objective

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("severity", ["page", "ticket"])
@pytest.mark.parametrize("tier", Tier)
def test_every_alert_has_a_runbook_that_is_there(severity: str, tier: Tier) -> None:
    assert (ROOT / runbook("docs/runbooks", severity, tier)).is_file()
    assert runbook("https://wiki.example", severity, tier).startswith("https://wiki.example/")


@pytest.mark.parametrize(
    ("mesh", "pages"),
    [
        (Mesh("m"), "http://127.0.0.1:8090"),
        (Mesh("m", alerts=Alerting(dashboards="https://mesh.example")), "https://mesh.example"),
        (Mesh("m", (Listen("127.0.0.1:0", "dashboards"),)), ""),
        (Mesh("m", (Listen("0.0.0.0:8090", "dashboards"),)), ""),
        (Mesh("m", (Listen("[::]:8090", "dashboards"),)), ""),
        (Mesh("m", (Listen("[::1]:8090", "dashboards"),)), "http://[::1]:8090"),
        (Mesh("m", (Listen("127.0.0.1:8080", "inference"),)), ""),
    ],
    ids=["usual", "as policy says", "on any port", "on any host", "on any host of six", "on six", "none"],
)
def test_pages_are_where_policy_says_or_where_they_listen(mesh: Mesh, pages: str) -> None:
    assert pages_of(mesh) == pages


@pytest.mark.parametrize(
    ("own", "query"),
    [
        (objective(), {"model": "digits", "status": "error"}),
        (objective(within_s=0.25), {"model": "digits", "min_ms": "250"}),
        (objective(within_s=0.0005), {"model": "digits", "min_ms": "0.5"}),
    ],
    ids=["failed", "slow", "slower than half a millisecond"],
)
def test_traces_are_those_that_may_have_been_bad(own: Objective, query: dict[str, str]) -> None:
    pages, _, asked = traces_page("http://h", own, "digits").partition("?")
    assert pages == "http://h/traces"
    assert dict(one.split("=") for one in asked.split("&")) == query
    parse(query)


@pytest.mark.parametrize("own", [about_loads(10.0), about_labels()], ids=["loads", "labels"])
def test_what_is_no_request_has_no_traces(own: Objective) -> None:
    assert traces_page("http://h", own, "digits") == ""


def test_an_objective_and_a_trace_have_a_page_each() -> None:
    assert slo_page("http://h", replace(objective(), name="a").name, "m") == "http://h/slos/a?model=m"
    assert trace_page("http://h", "ab") == "http://h/traces/ab"
