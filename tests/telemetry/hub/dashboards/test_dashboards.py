"""What the dashboards hold: trouble first, everything bounded, nothing made up."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import msgspec
import pytest

from telemetry.hub import dashboard_answers as ask
from telemetry.hub.dashboards.happenings import MOST_TEXT, Changes, happenings, incidents
from telemetry.hub.dashboards.known import commonest
from telemetry.hub.dashboards.map_drawing import drawing, edge_text, level_of, width_of
from telemetry.hub.dashboards.on_call import MODELS_OF_A_PAGE, on_call
from telemetry.hub.dashboards.service_map import MODELS_OF_A_PAGE as MAPPED
from telemetry.hub.dashboards.service_map import PODS_SHOWN, service_map
from telemetry.hub.dashboards.strips import strip
from telemetry.hub.measured.answers import Measured
from telemetry.hub.shown.answers import Objective, Overview
from tests.fakes.counted import NOW_S, Counted, record
from tests.fakes.hub import ScriptedSource, mesh, objective, requests

_Answer = TypeVar("_Answer")


def source(**changed: Any) -> ScriptedSource:
    return ScriptedSource(mesh(**changed), requests(12))


def read(answer: Any, kind: type[_Answer]) -> _Answer:
    return msgspec.convert(answer, kind)


def overview(**changed: Any) -> Overview:
    return read(mesh(**changed), Overview)


def counted(span: str = "1h") -> Measured:
    return read(Counted().all(span), Measured)


NO_CHANGES = Changes()


def test_the_map_has_gateway_models_versions_and_pods() -> None:
    found = service_map(overview(), counted("15m"), 1)
    assert [model.model for model in found.models] == ["digits", "text"]
    digits = found.models[0]
    assert [(version.version, version.ready, version.pod_count) for version in digits.versions] == [
        ("1", 1, 1),
        ("2", 0, 1),
    ]
    assert digits.edge.requests_per_s is not None
    assert digits.edge.requests_per_s == pytest.approx(sum(one.edge.requests_per_s or 0.0 for one in digits.versions))
    assert digits.versions[0].pods[0].edge.p95_s is not None
    assert found.models[1].edge.requests_per_s is None


def test_two_hundred_models_are_pages_of_the_map() -> None:
    pods = [{**mesh()["pods"][0], "name": f"m{at:03}/1/0", "model": f"m{at:03}"} for at in range(200)]
    several = overview(pods=pods, slos=[], models=[])
    pages = [service_map(several, Measured(), page) for page in (1, 10, 99)]
    assert [(page.page, page.page_count, len(page.models)) for page in pages] == [
        (1, 10, MAPPED),
        (10, 10, MAPPED),
        (10, 10, MAPPED),
    ]
    assert pages[1].models[-1].model == "m199"


def test_of_many_pods_those_in_trouble_are_drawn_and_the_others_are_one() -> None:
    pods = [
        {**mesh()["pods"][0], "name": f"m/1/{at}", "model": "m", "state": "failed" if at == 19 else "ready"}
        for at in range(20)
    ]
    several = overview(pods=pods, slos=[], models=[])
    drawn = service_map(several, Measured(), 1).models[0].versions[0].pods
    assert len(drawn) == PODS_SHOWN
    assert drawn[0].name == "m/1/19"
    assert (drawn[-1].name, drawn[-1].folded, drawn[-1].state) == ("13 more pods", 13, "13 ready")
    assert len(service_map(several, Measured(), 1, "m").models[0].versions[0].pods) == 20


def test_the_drawing_keeps_each_leaf_in_a_row_of_its_own() -> None:
    found = drawing(service_map(overview(), counted("15m"), 1))
    rows = [node.y for node in found.nodes if node.kind == "pod"]
    assert rows == sorted(set(rows))
    assert len(found.lines) == len(found.nodes) - 1
    assert all(0 < node.y < found.height for node in found.nodes)
    assert {node.href.partition("?")[0] for node in found.nodes if node.kind == "version"} == {
        "/debug/digits",
        "/debug/text",
    }


def test_edges_say_what_goes_along_them() -> None:
    found = service_map(overview(), counted("15m"), 1)
    good, bad = (version.edge for version in found.models[0].versions)
    assert (level_of(good), level_of(bad), level_of(found.models[1].edge)) == ("good", "bad", "none")
    assert edge_text(found.models[1].edge) == "no data"
    assert width_of(good) > width_of(found.models[1].edge)


def test_models_in_trouble_come_first_and_are_pages() -> None:
    several = [objective(model=f"m{at:02}", status="ok", alerts=[]) for at in range(40)]
    found = on_call(overview(slos=[*several, objective(model="sick")], pods=[], models=[]), Measured(), NO_CHANGES)
    assert (found.models[0].model, len(found.models), found.model_count, found.page_count) == (
        "sick",
        MODELS_OF_A_PAGE,
        41,
        2,
    )
    assert [one.objective.model for one in found.firing] == ["sick"]


def test_the_budget_that_ends_first_is_told_first() -> None:
    several = [objective(model="late", exhaustion_s=9000.0), objective(model="soon", exhaustion_s=60.0)]
    several += [objective(model="never", exhaustion_s=None), objective(model="ticket", status="ticket")]
    found = on_call(overview(slos=several), counted(), NO_CHANGES)
    assert [one.objective.model for one in found.firing] == ["soon", "late", "never", "ticket"]


def test_who_is_on_call_sees_pods_counts_and_reasons() -> None:
    found = on_call(overview(), counted(), NO_CHANGES)
    assert [pod.name for pod in found.pods] == ["digits/2/0", "digits/1/0", "text/1/0"]
    counts = dict(found.counts)
    assert counts["retries"] > 0
    assert counts["pods left out"] == 0
    assert {reason for reason, _ in found.reasons} == {"malformed_body", "pod_failed"}
    assert found.reasons_left_out == 0
    assert found.charted == ("digits",)


def test_requests_whose_reasons_are_not_listed_are_counted() -> None:
    assert commonest({"a": 1, "b": 3, "c": 1, "d": 2}, 2) == ((("b", 3), ("d", 2)), 2)
    assert commonest({}, 2) == ((), 0)


def test_the_executive_sees_success_budgets_and_cost() -> None:
    found = asyncio.run(ask.the_executive(source(), "7d"))
    assert found.success_ratio is not None
    assert 0.9 < found.success_ratio < 1.0
    assert (found.kept, found.judged, found.active_models, found.served_models) == (2, 2, 1, 2)
    assert [slo.model for slo in found.worst] == ["digits", "text"]
    assert found.cost.per_thousand_s == pytest.approx(1.1, rel=0.1)
    assert found.cost.idle_ratio is not None
    assert 0.6 < found.cost.idle_ratio < 0.9
    assert 0.85 < found.observed_ratio < 0.95
    assert asyncio.run(ask.the_executive(source(), "")).span == "7d"


def test_without_anything_the_dashboards_have_nothing() -> None:
    empty = source(models=[], slos=[], pods=[])
    empty.counted.versions, empty.counted.pods = (), []
    held = asyncio.run(ask.the_executive(empty, "7d"))
    assert (held.success_ratio, held.cost.per_thousand_s, held.cost.idle_s, held.objectives) == (None, None, None, ())
    assert asyncio.run(ask.the_on_call(empty, "1h", "1")).models == ()
    assert asyncio.run(ask.the_debug(empty, "m", "", "", "1h")) is None


def test_who_debugs_sees_pods_versions_and_the_traces_that_failed() -> None:
    found = asyncio.run(ask.the_debug(source(), "digits", "", "", "1h"))
    assert found is not None
    assert [line.pod.name for line in found.pods] == ["digits/1/0", "digits/2/0"]
    assert all(line.summed is not None for line in found.pods)
    assert [line.version for line in found.versions] == ["1", "2"]
    assert [one.status for one in found.failed] == ["error"]
    narrowed = asyncio.run(ask.the_debug(source(), "digits", "2", "digits/2/0", "1h"))
    assert narrowed is not None
    assert [line.pod.name for line in narrowed.pods] == ["digits/2/0"]


def test_how_versions_differ_is_told() -> None:
    pods = [{**pod, "archive": f"digits-{pod['version']}.mar"} for pod in mesh()["pods"]]
    found = asyncio.run(ask.the_debug(source(pods=pods), "digits", "", "", "1h"))
    assert found is not None
    assert [line.archives for line in found.versions] == [("digits-1.mar",), ("digits-2.mar",)]
    assert found.versions[0].differs == ("archive",)


def test_an_incident_lasts_from_its_alert_to_its_end() -> None:
    recent = [
        {"state": "firing", "name": "page 1h", "severity": "page", "at": 100.0},
        {"state": "resolved", "name": "page 1h", "severity": "page", "at": 160.0},
        {"state": "firing", "name": "page 1h", "severity": "page", "at": 200.0},
        {"state": "resolved", "name": "ticket 3d", "severity": "ticket", "at": 150.0},  # began before all that is kept
    ]
    found = incidents(read(objective(recent=recent), Objective))
    assert [(one.at_s, one.ends_s) for one in found] == [(100.0, 160.0), (200.0, None)]


def test_what_happened_is_told_the_latest_first_and_only_what_touches_the_stretch() -> None:
    changes = read({"records": Counted().records, "is_known": True}, Changes)
    found = happenings([read(objective(), Objective)], changes, NOW_S - 600)
    assert [one.kind for one in found] == ["incident", "deploy", "canary"]  # a revoked key is neither
    assert happenings([], read({"records": [record("never", "policy.apply", "x", 1, 2)]}, Changes), 0.0) == ()
    shown = strip(found, NOW_S - 600, NOW_S)
    assert [one.kind for one in shown.told] == ["page", "deploy", "canary"]
    assert shown.told[0].lasted == "goes on"
    assert strip(list(found) * 10, NOW_S - 600, NOW_S).left_out == 10


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["route digits: stable 1 -> 3", "slos changed"], "generation 3: route digits: stable 1 -> 3; slos changed"),
        (["x" * 500], f"generation 3: {'x' * (MOST_TEXT - 1)}…"),
        ([], "generation 3: policy.in_force policy by files"),
        ("odd", "generation 3: policy.in_force policy by files"),
    ],
    ids=["two", "too long", "none", "no list"],
)
def test_a_policy_is_told_by_what_it_changed(changes: object, told: str) -> None:
    read_in = record("2027-01-15T08:00:00+00:00", "policy.in_force", "policy", 2, 3)
    one = {**read_in, "actor": "files", "detail": {"changes": changes}}
    assert [each.text for each in happenings([], read({"records": [one]}, Changes), 0.0)] == [told]


def test_files_that_were_refused_are_told_though_nothing_changed() -> None:
    refused = record("2027-01-15T08:00:00+00:00", "policy.refused", "policy", 2, 2)
    one = {**refused, "detail": {"errors": ["limits.yaml:14:11: 5 what? Write 5/s."]}}
    (told,) = happenings([], read({"records": [one]}, Changes), 0.0)
    assert (told.kind, told.text) == ("deploy", "files refused: limits.yaml:14:11: 5 what? Write 5/s.")


@pytest.mark.parametrize(("text", "page"), [("3", 3), ("", 1), ("-1", 1), ("9" * 40, 1), ("²", 1)])
def test_a_page_is_a_number_or_the_first(text: str, page: int) -> None:
    assert ask.number(text) == page
