"""``penstock slo simulate``: what would fire, in words, by policy files alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from deploy.cli import main
from deploy.commands.slo_simulate import clock_text
from tests.fakes.hub import counted_slots, objective

DEMO = str(Path(__file__).parents[3] / "policies" / "demo")
FAULT = ("--bad-share", "20%", "--for", "10m", "--policies", DEMO)


def simulated(*arguments: str) -> int:
    return main(["slo", "simulate", *arguments])


def test_when_alerts_begin_and_end_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated("digits-availability", "--bad-share", "100%", "--for", "10m", "--policies", DEMO) == 0
    head, courses, cost, held_back = capsys.readouterr().out.strip().split("\n\n")
    assert head == "digits-availability: 99.5% good in 30d; 100% of 100/s bad for 10m, after a past without any"
    rows = [line.split() for line in courses.splitlines()[1:]]
    assert rows[0] == ["page", "fast", "page", "1h,", "5m", "4:30", "14:40"]
    assert rows[-1][:4] == ["budget", "exhausted", "ticket", "30d,"]
    assert rows[-1][-2:] == ["never", "-"]
    assert cost == "It takes 4.6 % of the error budget."
    assert held_back.startswith("page fast is held back at first, not enough data: ")


def test_another_target_and_another_factor_are_tried(capsys: pytest.CaptureFixture[str]) -> None:
    outage = ("digits-availability", "--bad-share", "100%", "--for", "10m", "--policies", DEMO)
    assert simulated(*outage, "--target", "90%", "--factor", "page slow=4x", "--factor", "ticket fast=2.5") == 0
    out = capsys.readouterr().out
    assert out.startswith("digits-availability: 90% good in 30d")
    (page_fast,) = [line.split() for line in out.splitlines() if line.startswith("page fast  ")]
    assert page_fast[-2:] == ["never", "-"]
    assert "page fast waits for more than 14.4x, and the budget burns at most 10x when every event is bad" in out
    assert "page slow waits" not in out


@pytest.mark.parametrize("option", ["--within", "--first-byte-within", "--loads-within"])
def test_another_latency_threshold_cannot_be_tried_and_that_says_why_and_what_can(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert simulated("digits-latency", "--last", "6h", option, "100ms") == 2
    said = capsys.readouterr().err
    assert "do not keep how long each took" in said
    assert "what can be tried is another target, and other factors of alerts" in said


def test_for_programs_it_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated("digits-availability", *FAULT, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [course["alert"]["name"] for course in told["courses"]][:2] == ["page fast", "page slow"]
    assert told["cost"] == pytest.approx(0.2 * 600 / (0.005 * 30 * 86_400))


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("none", *FAULT), 1, "no objective none in"),
        (("digits-availability",), 2, "write --bad-share and --for, or --last"),
        (("digits-availability", *FAULT, "--last", "6h"), 2, "write --bad-share and --for, or --last"),
        (("digits-availability", "--last", "6h", "--bad-share", "2%"), 2, "write --bad-share and --for, or --last"),
        (("digits-availability", "--last", "6h", "--rate", "1/s"), 2, "write --bad-share and --for, or --last"),
        (("digits-availability", "--last", "30d"), 2, "--last 30d: write 1m to 3d"),
        (("digits-availability", *FAULT, "--bad-share", "0%"), 2, "write more than 0%"),
        (("digits-availability", *FAULT, "--for", "1s"), 2, "write 10s to 30d"),
        (("digits-availability", *FAULT, "--for", "soon"), 2, "soon"),
        (("digits-availability", *FAULT, "--rate", "0/s"), 2, "--rate 0/s: write more than 0/s"),
        (("digits-availability", *FAULT, "--target", "100%"), 2, "--target 100%: write more than 0%, and less than"),
        (("digits-availability", *FAULT, "--factor", "page fast"), 2, "--factor x: "),
        (
            ("digits-availability", *FAULT, "--factor", "none=2x"),
            2,
            "its alerts with a factor are page fast, page slow",
        ),
        (("digits-availability", *FAULT, "--policies", "/none"), 1, "is not a directory"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    arguments: tuple[str, ...], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended = simulated(*arguments)
    except SystemExit as ending:
        ended = int(ending.code or 0)
    assert ended == code
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("length_s", "text"), [(50, "0:50"), (2600, "43:20"), (3900, "1:05:00"), (259_800, "3d 00:10:00")]
)
def test_moments_are_told_to_the_second(length_s: int, text: str) -> None:
    assert clock_text(length_s) == text


class Management(BaseHTTPRequestHandler):
    """Tells of one objective, and what is counted of it."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        told = {"slos": [objective()]} if path == "/admin/slo" else msgspec.to_builtins(counted_slots())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

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


def test_the_past_of_the_running_mesh_is_judged_anew(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulated("fast", "--last", "6h", "--server", server) == 0
    head, courses, left, gone = capsys.readouterr().out.strip().split("\n\n")
    assert head == "fast: 99.9% good in 30d; judged from 2027-01-15 02:00:00 to 2027-01-15 08:00:00 UTC"
    page = next(line for line in courses.splitlines() if line.startswith("page 1h"))
    assert page.split("  ")[-1].strip() == "2027-01-15 07:04:10"
    assert "2027-01-15 06:59:10" in page
    assert left == "88.4 % of the error budget is left."
    assert gone == "For 10 min of this time nobody counted."
    assert simulated("fast", "--last", "1h", "--server", server, "--target", "99.99%") == 0
    _, courses, left = capsys.readouterr().out.strip().split("\n\n")
    page = next(line for line in courses.splitlines() if line.startswith("page 1h"))
    assert "  2027-01-15 07:00:10 or before  2027-01-15 07:0" in page
    assert left == "The budget is spent 1.16 times over."
    assert simulated("fast", "--last", "6h", "--server", server, "--target", "99%", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {tuple(course["fires"]) for course in told["courses"]} == {()}
    assert simulated("slow", "--last", "6h", "--server", server) == 1
    assert "no objective slow in the running mesh: fast of digits" in capsys.readouterr().err
