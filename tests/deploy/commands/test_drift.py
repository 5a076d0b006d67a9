"""``penstock drift`` against a management API on loopback, and what it prints."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from deploy.cli import main
from deploy.commands.drift_text import drift_text
from telemetry.drift.reports import DriftReport, MeasureReport, PartReport, Point, Shape, VersionReport

AGE = MeasureReport(
    "value",
    "drifts",
    psi=0.51,
    limit=0.2,
    rows=1254,
    reference_rows=30112,
    needed=450,
    reference=Shape(40.1, 27.04, 40.2, 53.0),
    now=Shape(61.0, 47.0, 1061.4, 75.0),
    history=(Point(0.0, 3600.0, 0.51, 0.2, 1254),),
)
LABEL = MeasureReport("class", "steady", reference=Shape(names=(("cat", 0.75), ("dog", 0.25))))
PARTS = (
    PartReport("input", "/age", 1254, 7, {"out_of_range": 12}, {"number": 1252, "missing": 2}, False, (AGE,)),
    PartReport("output", "", 1254, 0, {}, {"text": 1254}, True, (LABEL,)),
)
VERSION = VersionReport("ranker", "1", "drifts", "1", 1.8e9, 1.8e9 + 86_400, 30112, 3600.0, 0.2, PARTS)
LEARNS = VersionReport("ranker", "2", "learning", "1", 0.0, 0.0, 0, 3600.0, 0.2, ())
REPORT = DriftReport(1.8e9, (VERSION, LEARNS))
NOTHING = DriftReport(1.8e9, ())


class Management(BaseHTTPRequestHandler):
    """Answers one report."""

    def do_GET(self) -> None:
        known = {"/admin/drift": REPORT, "/admin/drift?model=ranker": REPORT, "/admin/drift?model=rankr": NOTHING}
        self.send_response(200 if self.path in known else 404)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(known.get(self.path, REPORT)))

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


def test_drift_is_shown_for_people(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "ranker", "--server", server]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    verdict, reference, head, age, label, *odd = first.splitlines()
    assert verdict == "ranker/1: drifts: value of input /age above the limit in 3 windows in a row"
    assert reference == ("reference: version 1, 2027-01-15 08:00:00 to 2027-01-16 08:00:00, 30,112 rows; windows of 1h")
    assert " ".join(head.split()) == "PART MEASURE REFERENCE NOW ROWS PSI LIMIT VERDICT"
    assert " ".join(age.split()) == "input /age value 40 (27 to 53) 1100 (47 to 75) 1254 0.510 0.200 drifts"
    assert " ".join(label.split()) == "output all class cat 75% dog 25% - 0 - - steady"
    assert odd == [
        "input /age: missing in 2 of 1,254 rows",
        "input /age: out of range in 12 of 1,254 rows",
        "input /age: 7 more rows were drawn and not read (over 1 MiB, or over 200 a second)",
        "output all: the same in all of 1,254 rows",
    ]
    assert second.splitlines() == [
        "ranker/2: learning its reference",
        "reference: no rows of version 1 yet; windows of 1h",
    ]


def test_a_version_that_drifts_fails_the_check(server: str) -> None:
    assert main(["drift", "--server", server, "--check"]) == 1
    assert main(["drift", "--server", server]) == 0


def test_json_is_what_the_mesh_says(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "--server", server, "--json"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=DriftReport) == REPORT


def test_a_mesh_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "a-token")
    assert main(["drift", "--server", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("penstock drift: ")


def test_a_check_of_what_is_not_watched_is_not_passed(server: str) -> None:
    assert main(["drift", "rankr", "--server", server]) == 0
    assert main(["drift", "rankr", "--check", "--server", server]) == 2


def test_where_nothing_is_watched_it_says_how() -> None:
    assert drift_text(DriftReport(0.0, ()), "text") == (
        "nothing of text is watched: write `drift: {sample: 1%}` in routes/text.yaml, if there is one"
    )


@pytest.mark.parametrize(
    ("says", "text"),
    [
        ("moved", "ranker/1: moved: value of input /age above the limit in the last window"),
        ("steady", "ranker/1: steady"),
        ("too_few", "ranker/1: too few rows since the reference to say"),
    ],
)
def test_every_verdict_has_its_words(says: str, text: str) -> None:
    part = msgspec.structs.replace(PARTS[0], measures=(msgspec.structs.replace(AGE, says=says),))
    version = msgspec.structs.replace(VERSION, says=says, parts=(part,))
    assert drift_text(DriftReport(0.0, (version,)), "").splitlines()[0] == text
