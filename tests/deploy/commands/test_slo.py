"""``penstock slo`` against a management API on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from deploy.cli import main
from deploy.commands.slo import budget, ends_in
from gateway.control.slo_reports import AlertReport, BurnReport, ModelActivityReport, ObjectiveReport, SloReport

ALERT = AlertReport("page", "page 1h", 14.4, 3600.0, 300.0, 21.34, 40.0, "firing", 40.0, "")
SLO = ObjectiveReport(
    name="digits-availability",
    owner="vision",
    model="digits",
    target=0.999,
    period_s=30 * 86_400.0,
    within_s=None,
    status="page",
    good=9000,
    bad=12,
    ignored=3,
    remaining_ratio=-0.3315,
    is_enough=False,
    exhaustion_s=122_400.0,
    burn=[BurnReport(300.0, 40.0, 100, 4), BurnReport(3600.0, 21.34, 9000, 12)],
    alerts=[ALERT, replace(ALERT, severity="ticket", name="ticket 1d", state="inactive", held_back="not enough data")],
    recent=[],
    versions=[],
)
REPORT = SloReport(
    at=1000.0,
    slot_s=10,
    models=[ModelActivityReport("digits", "1", 12.345, 0.01, 0.0123, None)],
    slos=[SLO, replace(SLO, name="digits-latency", status="no_data", remaining_ratio=None, alerts=[], burn=[])],
)


class Management(BaseHTTPRequestHandler):
    """Answers one report."""

    report = REPORT
    asked = 0

    def do_GET(self) -> None:
        Management.asked += 1
        self.send_response(200 if self.path == "/admin/slo" else 404)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(self.report))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PENSTOCK_TOKEN", "a-token")
    with HTTPServer(("127.0.0.1", 0), Management) as management:
        thread = threading.Thread(target=management.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{management.server_port}"
        management.shutdown()
        thread.join()


@pytest.mark.parametrize("options", [(), ("--json",), ("--check",)])
def test_the_mesh_is_asked_once(server: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    monkeypatch.setattr(Management, "asked", 0)
    main(["slo", "--server", server, *options])
    assert Management.asked == 1


def test_objectives_are_shown_for_people(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slo", "--server", server]) == 0
    objectives, models, firing = capsys.readouterr().out.split("\n\n")
    head, availability, latency = objectives.splitlines()
    assert " ".join(head.split()) == "SLO MODEL TARGET STATUS GOOD BAD BUDGET LEFT ENDS IN BURN RATES ALERTS"
    assert availability.split("  ")[0] == "digits-availability"
    for shown in ("99.9% in 30d", "page", "9000", "12", "-33.1% ?", "spent", "5m:40x 1h:21.3x"):
        assert shown in availability
    assert availability.endswith("1 fires, 1 held back")
    assert "no data" in latency
    assert latency.endswith("quiet")
    assert models.splitlines()[1].split() == ["digits", "1", "12.35", "1.00%", "12", "ms", "-"]
    assert firing.splitlines() == [
        "digits-availability (digits): page 1h has fired for 16 min; 1h burns 21.3x and 5m 40x, limit 14.4x",
        "digits-availability (digits): ticket 1d is held back, not enough data",
    ]


@pytest.mark.parametrize(
    ("remaining_ratio", "exhaustion_s", "text"),
    [
        (None, None, None),
        (0.5, None, "not at this pace"),
        (0.5, 122_400.0, "34 h"),
        (0.0, 0.0, "spent"),
        (-2.0, None, "spent"),
    ],
)
def test_a_budget_ends_at_a_pace_or_has_ended(
    remaining_ratio: float | None, exhaustion_s: float | None, text: str | None
) -> None:
    assert ends_in(replace(SLO, remaining_ratio=remaining_ratio, exhaustion_s=exhaustion_s)) == text


@pytest.mark.parametrize(
    ("remaining_ratio", "text"),
    [(0.987, "98.7%"), (-0.331, "-33.1%"), (-1.0, "-1.0x"), (-2.5, "-2.5x"), (-190.2, "-190x"), (-9999.0, "-9999x")],
)
def test_what_is_overspent_by_far_is_told_in_budgets(remaining_ratio: float, text: str) -> None:
    assert budget(remaining_ratio, is_enough=True) == text


def test_as_json_it_is_what_the_api_says(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slo", "--server", server, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(msgspec.json.encode(REPORT))


@pytest.mark.parametrize(("status", "code"), [("page", 1), ("exhausted", 1), ("ticket", 0), ("ok", 0)])
def test_a_check_fails_while_a_page_fires_or_a_budget_is_spent(
    server: str, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    report = msgspec.convert(msgspec.to_builtins(REPORT) | {"slos": []}, SloReport)
    slo = msgspec.convert(msgspec.to_builtins(SLO) | {"status": status}, ObjectiveReport)
    monkeypatch.setattr(Management, "report", replace(report, slos=[slo]))
    assert main(["slo", "--server", server, "--check"]) == code
    assert main(["slo", "--server", server]) == 0


def test_a_mesh_without_objectives_says_how_to_have_some(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Management, "report", replace(REPORT, slos=[]))
    assert main(["slo", "--server", server]) == 0
    assert "write slos.yaml" in capsys.readouterr().out


def test_a_mesh_that_cannot_be_asked_is_a_sentence_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "a-token")
    assert main(["slo", "--server", "http://127.0.0.1:1"]) == 1
    assert "is the mesh running? See `penstock up`" in capsys.readouterr().err
