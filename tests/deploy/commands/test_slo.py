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
from deploy.commands import slo
from deploy.commands.screens.live import Latest
from deploy.commands.slo_text import budget, burns, describe_whole, ends_in
from gateway.control.slo_reports import (
    AlertReport,
    BurnReport,
    ModelActivityReport,
    ObjectiveReport,
    SloReport,
    TransitionReport,
)

ALERT = AlertReport("page", "page 1h", 14.4, 3600.0, 300.0, 21.34, 40.0, "firing", 40.0, "")
SLO = ObjectiveReport(
    name="digits-availability",
    owner="vision",
    model="digits",
    target=0.999,
    period_s=30 * 86_400.0,
    within_s=None,
    events="requests",
    good_when="A request is good when its status is below 500.",
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
    objectives, good_events, models, firing = capsys.readouterr().out.split("\n\n")
    sentence = "A request is good when its status is below 500."
    assert good_events.splitlines() == [f"digits-availability: {sentence}", f"digits-latency: {sentence}"]
    head, availability, latency = objectives.splitlines()
    assert " ".join(head.split()) == "SLO MODEL TARGET STATUS GOOD BAD BUDGET LEFT ENDS IN BURN RATES ALERTS"
    assert availability.split("  ")[0] == "digits-availability"
    for shown in ("99.9% in 30d", "page", "9000", "12", "-33.1% ?", "spent", "5m:40x! 1h:21.3x!"):
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


def test_as_json_too_it_is_of_what_was_asked_for(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slo", "digits-latency", "--server", server, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [slo["name"] for slo in told["slos"]] == ["digits-latency"]
    assert told["at"] == REPORT.at
    assert {one["model"] for one in told["models"]} == {"digits"}
    assert main(["slo", "--model", "digits", "--server", server, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["slos"]) == 2


@pytest.mark.parametrize(("status", "code"), [("page", 1), ("exhausted", 1), ("ticket", 0), ("ok", 0)])
def test_a_check_fails_while_a_page_fires_or_a_budget_is_spent(
    server: str, monkeypatch: pytest.MonkeyPatch, status: str, code: int
) -> None:
    report = msgspec.convert(msgspec.to_builtins(REPORT) | {"slos": []}, SloReport)
    one = msgspec.convert(msgspec.to_builtins(SLO) | {"status": status}, ObjectiveReport)
    monkeypatch.setattr(Management, "report", replace(report, slos=[one]))
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


def test_the_history_of_alerts_is_shown_the_newest_first_and_all_of_it_where_asked_for(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recent = [TransitionReport("resolved" if at % 2 else "firing", "page 1h", "page", 60.0 * at) for at in range(14)]
    monkeypatch.setattr(Management, "report", replace(REPORT, slos=[replace(SLO, recent=recent)]))
    for options, shown in (((), 10), (("--history",), 14)):
        assert main(["slo", "--server", server, *options]) == 0
        head, *rows = capsys.readouterr().out.strip().split("\n\n")[-1].splitlines()
        assert head.split("  ")[0] == "WHEN (UTC)"
        assert rows[0].split("  ") == ["1970-01-01 00:13:00", "digits-availability", "digits", "page 1h", "resolved"]
        assert len(rows) == shown


def test_a_window_without_events_is_no_data() -> None:
    assert burns([BurnReport(300.0, 0.0, 0, 0), BurnReport(3600.0, 0.0, 5, 0)]) == "5m:no-data 1h:0x"


WHOLE = """\
digits-availability of digits: page (owner vision)
A request is good when its status is below 500. 99.9% of requests have to be, in any 30d.
9000 good, 12 bad, 3 ignored: the budget is spent 1.33 times over (so few events that this means little)
nothing is left; it comes back as what was bad gets older than the period

WINDOW  BURNS  0         LIMIT        LIMITS                          GOOD  BAD
5m      40x    ##########|##########  page 1h 14.4x, ticket 1d 14.4x   100    4
1h      21.3x  ##########|#####.....  page 1h 14.4x, ticket 1d 14.4x  9000   12

ALERT      SEVERITY  BURNS NOW         LIMIT  IT                   HELD BACK
page 1h    page      1h 21.3x, 5m 40x  14.4x  fires for 16 min     -
ticket 1d  ticket    1h 21.3x, 5m 40x  14.4x  inactive 16 min ago  not enough data"""


def test_one_objective_is_shown_with_every_window_against_its_limits(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["slo", "digits-availability", "--server", server]) == 0
    assert capsys.readouterr().out == f"{WHOLE}\n"


def test_an_objective_without_events_or_with_a_budget_that_lasts_says_so() -> None:
    assert "ignored: no data" in describe_whole(REPORT, [replace(SLO, remaining_ratio=None)])
    lasting = replace(SLO, remaining_ratio=0.5, exhaustion_s=None)
    assert "at the pace of now the budget does not end" in describe_whole(REPORT, [lasting])
    assert "the budget ends in 34 h" in describe_whole(REPORT, [replace(lasting, exhaustion_s=122_400.0)])


def test_a_foretold_end_is_a_state_of_its_own(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    likely = replace(SLO, status="ticket", alerts=[replace(ALERT, tier="likely", name="breach likely")])
    monkeypatch.setattr(Management, "report", replace(REPORT, slos=[likely]))
    assert main(["slo", "--server", server]) == 0
    assert "  likely  " in capsys.readouterr().out.splitlines()[1]


def test_one_model_is_shown_alone(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slo", "--model", "digits", "--server", server]) == 0
    assert "digits-latency" in capsys.readouterr().out
    assert main(["slo", "nope", "--server", server]) == main(["slo", "nope", "--check", "--server", server]) == 2
    assert "objectives: digits-availability, digits-latency; of models: digits" in capsys.readouterr().err
    assert main(["slo", "--model", "nope", "--check", "--server", server]) == slo.MISTAKEN


def test_a_check_of_tickets_and_one_that_could_not_be_made_are_told_apart(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = replace(SLO, status="ticket", alerts=[replace(ALERT, severity="ticket")])
    monkeypatch.setattr(Management, "report", replace(REPORT, slos=[ticket]))
    assert main(["slo", "--check", "--server", server]) == 0
    assert main(["slo", "--check", "--tickets", "--server", server]) == slo.ALARM
    assert main(["slo", "--check", "--server", "http://127.0.0.1:1"]) == slo.NOT_ASKED


def test_watched_in_a_terminal_it_is_clipped_scrolls_and_leaves() -> None:
    seen = "\n".join(f"line {at}" for at in range(40))
    assert slo._drawn(Latest(seen), 3, (6, 4)) == ["line 3", "line 4", "line 5", "q quit"]
    assert slo._drawn(Latest(None, "gone"), 0, (80, 24)) == ["asking the mesh ...", "gone"]
    assert slo._scrolled(0, "page-down", seen) == 10
    assert slo._scrolled(38, "page-down", seen) == 39
    assert slo._scrolled(5, "home", seen) == 0
    assert slo._scrolled(5, "q", seen) is None


def test_watched_where_nobody_looks_it_is_printed_again_and_again(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop_at_the_third(_: float) -> None:
        if Management.asked == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Management, "asked", 0)
    monkeypatch.setattr("deploy.commands.slo.time.sleep", stop_at_the_third)
    assert main(["slo", "--watch", "--server", server]) == 130
    assert capsys.readouterr().out.count("BURN RATES") == 2


@pytest.mark.parametrize("for_programs", ["--json", "--check"])
def test_what_is_watched_is_for_people(server: str, for_programs: str) -> None:
    assert main(["slo", "--watch", for_programs, "--server", server]) == slo.MISTAKEN
