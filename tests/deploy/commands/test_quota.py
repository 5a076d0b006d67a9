"""``penstock quota`` against a management API on loopback, and what it says to people."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from deploy.cli import main
from deploy.commands.quota import describe_grants, describe_quotas, forecast, rate_text
from gateway.control.cost_report import CostRow, CostsReport
from gateway.control.quota_reports import GrantReport, GrantsReport, QuotaReport, QuotasReport, StepReport

GPU = QuotaReport(
    tenant="ads",
    name="gpu-month",
    meter="device_time",
    per="calendar-month",
    zone="Europe/Berlin",
    limit=220 * 3_600_000_000,
    granted_on_top=20 * 3_600_000_000,
    used=180 * 3_600_000_000,
    ratio=0.818182,
    held=3_600_000_000,
    rate_per_s=416_666.0,
    resets_at="2026-11-30T23:00:00Z",
    exhausted_at="2026-11-28T14:00:00Z",
    ladder=[StepReport(0.8, "warn", True), StepReport(1.0, "refuse", False)],
)
GRANT = GrantReport(
    "g1", "ads", "gpu-month", 20, "20h", "2026-11-20T10:00:00Z", "2026-11-27T10:00:00Z", "local", "launch", True, None
)
COST = CostRow("ads", "digits", 12, 3.5, 2048, 7)
ANSWERS: dict[str, object] = {
    "GET /admin/quotas": QuotasReport([GPU], None),
    "GET /admin/quotas?tenant=ads": QuotasReport([GPU], None),
    "GET /admin/grants": GrantsReport([GRANT]),
    "POST /admin/quotas/ads/gpu-month/grants": GRANT,
    "DELETE /admin/quotas/ads/gpu-month/grants/g1?reason=a+mistake": replace(GRANT, is_live=False, ended_by="local"),
    "GET /admin/costs": CostsReport("2026-11-20T10:00:00Z", [COST], 3, replace(COST, tenant="", model="")),
}


@dataclass
class Asked:
    """What the management API was asked."""

    server: str
    calls: list[tuple[str, Any]] = field(default_factory=list)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """A management API that answers what is written above."""
    monkeypatch.setenv("PENSTOCK_TOKEN", "t" * 43)

    class Management(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            call = f"{self.command} {self.path}"
            found.calls.append((call, json.loads(body) if body else None))
            self.send_response(200 if call in ANSWERS else 404)
            self.end_headers()
            self.wfile.write(msgspec.json.encode(ANSWERS.get(call, {"message": "no such quota"})))

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def do_DELETE(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Management)
    found = Asked(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_quotas_are_shown_with_their_forecast(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "show", "ads", "--server", asked.server]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    for part in ("ads", "gpu-month", "180h", "220h (+20h)", "81.8%", "warn", "2026-11-28 14:00Z", "Europe/Berlin"):
        assert part in line


def test_a_rolling_quota_comes_back_from_a_moment_on_and_a_calendar_s_at_it() -> None:
    def resets(per: str) -> str:
        return describe_quotas(QuotasReport([replace(GPU, per=per)], None)).splitlines()[1]

    assert "  from 2026-11-30 23:00Z  " in resets("rolling-24h")
    assert "from" not in resets("calendar-month")


def test_json_is_what_the_mesh_answered(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "show", "--json", "--server", asked.server]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=QuotasReport) == QuotasReport([GPU], None)


def test_a_grant_sends_amount_moment_and_reason(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["quota", "grant", "ads", "gpu-month", "20h", "--until", "2026-11-27T10:00:00Z", "--reason", "launch"]
    assert main([*words, "--server", asked.server]) == 0
    assert asked.calls == [
        (
            "POST /admin/quotas/ads/gpu-month/grants",
            {"amount": "20h", "until": "2026-11-27T10:00:00Z", "reason": "launch"},
        )
    ]
    assert (
        capsys.readouterr().out == "g1: 20h on top of ads's gpu-month, in each of its periods until 2026-11-27 10:00Z\n"
    )


def test_a_grant_may_last_so_long_from_now(asked: Asked) -> None:
    words = ["quota", "grant", "ads", "gpu-month", "20h", "--until", "7d", "--reason", "launch"]
    assert main([*words, "--server", asked.server]) == 0
    assert asked.calls[0][1]["until"].endswith("Z")


def test_a_moment_that_is_none_is_a_mistake_in_the_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "grant", "ads", "q", "1", "--until", "soon", "--reason", "x"]) == 2
    assert "expected a day and time" in capsys.readouterr().err
    assert main(["quota", "grant", "ads", "q", "1", "--until", "7", "--reason", "x"]) == 2
    told = "7 what? Write one such as 2027-03-01T00:00:00Z, or a length of time from now, such as 7d."
    assert told in capsys.readouterr().err


def test_a_grant_is_taken_back_by_its_id_alone(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "revoke-grant", "g1", "--reason", "a mistake", "--server", asked.server]) == 0
    assert asked.calls[1][0] == "DELETE /admin/quotas/ads/gpu-month/grants/g1?reason=a+mistake"
    assert "g1 is taken back" in capsys.readouterr().out


def test_a_grant_that_is_not_there_is_told(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "revoke-grant", "g9", "--reason", "x", "--server", asked.server]) == 1
    assert "no grant g9" in capsys.readouterr().err


def test_what_the_mesh_refuses_is_told(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "show", "nobody", "--server", asked.server]) == 1
    assert "no such quota" in capsys.readouterr().err


def test_costs_are_shown_by_tenant_and_model(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "costs", "--server", asked.server]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "since 2026-11-20 10:00Z"
    assert lines[2].split() == ["ads", "digits", "12", "3.5s", "2KiB", "7"]
    assert lines[3].split() == ["all", "12", "3.5s", "2KiB", "7"]
    assert lines[4] == "3 more are not shown"


def test_grants_say_whether_they_count(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quota", "grants", "--server", asked.server]) == 0
    assert "counts" in capsys.readouterr().out
    ended = [replace(GRANT, is_live=False), replace(GRANT, is_live=False, ended_by="key:ops")]
    told = describe_grants(GrantsReport(ended)).splitlines()
    assert "  ended  " in told[1]
    assert "taken back by key:ops" in told[2]


def test_a_forecast_says_when_or_that_it_lasts_or_is_spent() -> None:
    assert forecast(GPU) == "2026-11-28 14:00Z"
    assert forecast(replace(GPU, exhausted_at=None)) == "lasts"
    assert forecast(replace(GPU, ratio=1.0)) == "spent"
    assert forecast(replace(GPU, ratio=None, used=None)) is None


def test_rates_are_per_second_or_per_hour() -> None:
    assert rate_text(120.0, "requests") == "120/s"
    assert rate_text(0.01, "requests") == "36/h"
    assert rate_text(500_000.0, "device_time") == "30m/h"
    assert rate_text(0.0, "requests") == "-"


def test_a_ledger_that_cannot_be_used_is_told_first() -> None:
    assert describe_quotas(QuotasReport([GPU], "the disk is full")).startswith(
        "the ledger of quotas cannot be used: the disk is full"
    )
    assert describe_quotas(QuotasReport([], None)).startswith("no tenant has a quota: ")
    assert describe_quotas(QuotasReport([], None), "adz") == (
        "adz has no quota: write `quotas:` in tenants/adz.yaml, if there is one"
    )
