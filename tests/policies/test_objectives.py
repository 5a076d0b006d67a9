"""Objectives mean in the snapshot what slos.yaml says, and an alert that could not fire is refused."""

import re
import shutil
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import objectives, units
from policies.burn_alerts import usual_alerts
from policies.document import parse
from policies.errors import PolicyError, PolicyRefused
from policies.kinds import SLOS, PolicyFile
from policies.load import load_directory
from policies.snapshot.mesh import Alerting, Tracing, Webhook
from policies.snapshot.slos import BurnAlert, Guards, Objective

DEMO = Path(__file__).parents[2] / "policies" / "demo"
DOCS = Path(__file__).parents[2] / "docs"
PLAIN = "name: a, owner: us, window: 30d, good: {status_below: 500}, objective: 99.9%"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    copy = shutil.copytree(DEMO, tmp_path / "policies")
    for route in (copy / "routes").iterdir():
        route.write_text("\n".join(line for line in route.read_text().split("\n") if not line.startswith("slo:")))
    return copy


def objective_of(directory: Path, text: str) -> Objective:
    (directory / "slos.yaml").write_text(f"kind: slos/v1\nslos:\n  - {{{text}}}\n")
    (objective,) = load_directory(directory).objectives.values()
    return objective


def mistakes_in(text: str) -> list[PolicyError]:
    document = parse(f"kind: slos/v1\nslos:\n  - {{{text}}}\n".encode(), "slos.yaml")
    assert not document.errors
    return objectives.check([PolicyFile("slos.yaml", SLOS, document.root)])


def test_a_model_that_does_not_exist_is_told_once_and_not_of_the_routes_that_name_its_objective(tmp_path: Path) -> None:
    copy = shutil.copytree(DEMO, tmp_path / "policies")
    slos = copy / "slos.yaml"
    slos.write_text(slos.read_text().replace("route: digits\n", "route: digit\n", 1))
    with pytest.raises(PolicyRefused) as refused:
        load_directory(copy)
    (error,) = refused.value.errors
    assert (error.file, error.problem, error.fix) == (
        "slos.yaml",
        'there is no model "digit"',
        'Did you mean "digits"?',
    )


def test_every_key_reaches_the_snapshot(directory: Path) -> None:
    text = (
        "name: fast, route: digits, owner: us, window: 7d, objective: 99.95%, by: [version, tier], "
        "good: {status_below: 400, within: 250ms}, ignore: {status: [429, 404]}, "
        "page: [{burn: 14.4, long: 60m, short: 5m}, {burn: 6, long: 6h, short: 30m}], "
        "ticket: [{burn: 1, long: 3d, short: 6h}], min_events: 200, min_bad_events: 3, chance_below: 0.5%, "
        "likely_within: 12h"
    )
    assert objective_of(directory, text) == Objective(
        name="fast",
        owner="us",
        period_s=604800.0,
        target=0.9995,
        status_below=400,
        within_s=0.25,
        ignore_status=(404, 429),
        model="digits",
        by=("version", "tier"),
        alerts=(
            BurnAlert("page", "page 1h", 14.4, 3600.0, 300.0),
            BurnAlert("page", "page 6h", 6.0, 21600.0, 1800.0),
            BurnAlert("ticket", "ticket 3d", 1.0, 259200.0, 21600.0),
        ),
        guards=Guards(min_events=200, min_bad_events=3, chance_below=0.005),
        likely_within_s=43200.0,
        tells_exhausted=True,
    )


@pytest.mark.parametrize(
    ("good", "said", "events"),
    [
        ("status_below: 500, first_byte_within: 500ms", {"status_below": 500, "first_byte_within_s": 0.5}, "requests"),
        ("pod: ready", {"pod": "ready"}, "requests"),
        ("loads_within: 10s", {"loads_within_s": 10.0}, "loads"),
        ("label: right", {"label": "right"}, "labels"),
    ],
)
def test_each_sort_of_good_event_reaches_the_snapshot(
    directory: Path, good: str, said: dict[str, object], events: str
) -> None:
    found = objective_of(directory, PLAIN.replace("status_below: 500", good))
    usual = objective_of(directory, PLAIN)
    assert found == msgspec.structs.replace(usual, **({"status_below": 0} | said))
    assert found.events == events


def test_what_is_left_out_is_as_usual(directory: Path) -> None:
    objective = objective_of(directory, PLAIN)
    assert objective == Objective(
        "a",
        "us",
        2592000.0,
        0.999,
        500,
        alerts=usual_alerts(2592000.0, 0.999),
        guards=Guards(0, 0, 0.01),
        likely_within_s=86400.0,
        tells_exhausted=True,
    )
    assert (objective.ignore_status, objective.within_s, objective.model, objective.by) == (
        None,
        None,
        "",
        ("version",),
    )
    assert [alert.long_s for alert in objective.alerts if alert.severity == "page"] == [3600.0, 21600.0]


def test_an_empty_list_of_one_severity_leaves_the_other_as_usual(directory: Path) -> None:
    alerts = objective_of(directory, f"{PLAIN}, page: []").alerts
    assert {alert.severity for alert in alerts} == {"ticket"}
    assert objective_of(directory, f"{PLAIN}, page: [], ticket: [], by: [], chance_below: 0%") == Objective(
        "a", "us", 2592000.0, 0.999, 500, by=(), guards=Guards(chance_below=0.0)
    )


@pytest.mark.parametrize(
    ("text", "likely_within_s", "tells_exhausted"),
    [
        (f"{PLAIN}, likely_within: 0s", 0.0, True),
        (f"{PLAIN}, ticket: []", 0.0, False),
        (f"{PLAIN}, ticket: [], likely_within: 6h", 21600.0, False),
        (PLAIN.replace("30d", "7d"), 20160.0, True),
        (PLAIN.replace("30d", "12h"), 0.0, True),  # its thirtieth is too short to foretell anything
    ],
)
def test_the_end_of_a_budget_is_a_ticket_unless_tickets_are_not_wanted(
    directory: Path, text: str, likely_within_s: float, tells_exhausted: bool
) -> None:
    objective = objective_of(directory, text)
    assert (objective.likely_within_s, objective.tells_exhausted) == (likely_within_s, tells_exhausted)


def test_who_is_told_of_alerts_reaches_the_snapshot(directory: Path) -> None:
    mesh = directory / "mesh.yaml"
    assert load_directory(directory).mesh.alerts == Alerting()
    mesh.write_text(
        mesh.read_text().replace(
            "name: demo",
            "alerts:\n  webhooks:\n    - {url: 'https://hooks.example/x', authorization: 'file:/etc/hook'}\n"
            "    - {url: 'env:CHAT_HOOK', signature: 'env:KEY'}\n  alertmanager: http://127.0.0.1:9093/\n"
            "  alertmanager_authorization: env:AM\n  dashboards: https://mesh.example/\n"
            "  runbooks: https://wiki.example/runbooks/\n"
            "name: demo",
        )
    )
    assert load_directory(directory).mesh.alerts == Alerting(
        (Webhook("https://hooks.example/x", "file:/etc/hook"), Webhook("env:CHAT_HOOK", signature="env:KEY")),
        "http://127.0.0.1:9093",
        "https://wiki.example/runbooks",
        "env:AM",
        "https://mesh.example",
    )


def test_the_spelling_of_an_objective_does_not_change_the_digest(directory: Path) -> None:
    def digest(slo: str, text: str) -> str:
        route = directory / "routes" / "digits.yaml"
        kept = [line for line in route.read_text().split("\n") if not line.startswith("slo:")]
        route.write_text("\n".join([f"slo: {slo}", *kept]))
        (directory / "slos.yaml").write_text(f"kind: slos/v1\nslos: [{{{text}}}]\n")
        return load_directory(directory).digest

    before = digest("a", f"{PLAIN}, by: [version, tier], ignore: {{status: [404, 429]}}, page: []")
    said_otherwise = PLAIN.replace("30d", "720h").replace("99.9%", "99.90%")
    assert before == digest("[a]", f"page: [], ignore: {{status: [429, 404]}}, by: [tier, version], {said_otherwise}")
    assert before != digest("[a]", f"{PLAIN}, by: [version, tier], page: []")


def test_the_tracing_section_reaches_the_snapshot(directory: Path) -> None:
    mesh = directory / "mesh.yaml"
    section = "tracing: {callers: restart, kept_per_s: 0, baggage: [plan, app], attributes: [b.*, a]}"
    mesh.write_text(mesh.read_text().replace("bounds:", f"{section}\nbounds:"))
    assert load_directory(directory).mesh.tracing == Tracing("restart", 0.0, ("app", "plan"), ("a", "b.*"))


def test_what_the_documents_show_is_taken(directory: Path) -> None:
    page = (DOCS / "how-to" / "policy-files.md").read_text()
    (slos,) = re.findall(r"^```\n(kind: slos/v1\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tracing,) = re.findall(r"^```\n(tracing:\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    (directory / "slos.yaml").write_text(slos)
    mesh = directory / "mesh.yaml"
    mesh.write_text(mesh.read_text().replace("bounds:", f"{tracing}bounds:"))
    snapshot = load_directory(directory)
    assert snapshot.mesh.tracing == Tracing(baggage=("user.plan",), attributes=("app.language", "app.tokenizer.*"))
    assert snapshot.objectives["digits-latency"].guards.min_bad_events == 5


PERCENTAGES = st.decimals(Decimal("50"), Decimal("99.999999"), places=6).map(lambda number: f"{number:f}%")


@settings(deadline=None)
@given(PERCENTAGES)
def test_a_target_is_the_shortest_decimal_that_was_written(text: str) -> None:
    target = units.fraction(text)
    assert Decimal(repr(target)) == Decimal(text[:-1]) / 100
    assert Decimal(units.percent_text(target)[:-1]) == Decimal(text[:-1])


def written_out(severity: str, alerts: tuple[BurnAlert, ...]) -> str:
    """The alerts as they are written; of several whose windows are at their floor, the one that fires first."""
    by_window = {alert.long_s: alert for alert in alerts if alert.severity == severity}
    return ", ".join(
        f"{{burn: {alert.factor}, long: {alert.long_s:f}s, short: {alert.short_s:f}s}}" for alert in by_window.values()
    )


@settings(deadline=None)
@given(st.integers(3600, 90 * 86400), PERCENTAGES)
def test_the_usual_alerts_written_out_are_no_mistake(period_s: int, objective: str) -> None:
    """Whoever starts from what is usual and writes it down is not refused."""
    alerts = usual_alerts(float(period_s), units.fraction(objective))
    lists = {severity: written_out(severity, alerts) for severity in ("page", "ticket")}
    text = f"window: {period_s}s, objective: {objective}, page: [{lists['page']}], ticket: [{lists['ticket']}]"
    assert mistakes_in(text) == []


@settings(deadline=None)
@given(st.floats(0.1, 500), PERCENTAGES)
def test_an_alert_is_refused_exactly_when_even_an_outage_does_not_reach_it(factor: float, objective: str) -> None:
    burn_of_an_outage = 1 / (1 - Decimal(objective[:-1]) / 100)
    text = f"window: 30d, objective: {objective}, page: [{{burn: {Decimal(repr(factor)):f}, long: 1h, short: 5m}}]"
    is_refused = ["this never fires" in error.problem for error in mistakes_in(text)]
    assert is_refused == ([True] if Decimal(repr(factor)) >= burn_of_an_outage else [])


@pytest.mark.parametrize("burn", ["9" * 400, ".inf", "-1", "true", "fast", "[]", ".nan"])
def test_a_burn_that_is_no_burn_is_left_to_the_grammar(burn: str, directory: Path) -> None:
    (directory / "slos.yaml").write_text(
        f"kind: slos/v1\nslos: [{{{PLAIN}, page: [{{burn: {burn}, long: 1h, short: 5m}}]}}]\n"
    )
    with pytest.raises(PolicyRefused) as refused:
        load_directory(directory)
    assert len(refused.value.errors) == 1


@pytest.mark.parametrize("period", ["1h", "90d"])
def test_the_shortest_and_the_longest_window_are_taken(period: str) -> None:
    assert mistakes_in(f"window: {period}, objective: 99%, page: [{{burn: 2, long: 8m, short: 40s}}]") == []
