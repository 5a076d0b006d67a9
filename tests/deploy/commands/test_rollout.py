"""``penstock rollout`` against a management API on loopback, and what it says to people."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from deploy.cli import main
from deploy.commands.rollout_text import in_one_line, next_lines, rollout_text, rollouts_text
from gateway.control.rollout_reports import RolloutReport, RolloutsReport, StepReport, TransitionReport
from gateway.decide.rollouts.progress import RolloutState
from gateway.decide.rollouts.verdict import ArmSeen, BurnSeen, Says, Verdict

NOW_S = 1_800_000_120.0
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
VERDICT = Verdict(
    model="digits",
    canary="digits-2-first",
    generation=12,
    step=1,
    share=0.25,
    at_s=NOW_S,
    says=Says.UNDECIDED,
    because="Undecided: needs about 90 more bad keys of both versions.",
    stable=ArmSeen("1", 9000, 40, 10, 38),
    candidate=ArmSeen("2", 3000, 15, 3, 14, 2, (TRACE,)),
    harm=1.75,
    safe=4.2,
    within_budget=25e6,
    proved_at=200.0,
    needs=90,
    burn=BurnSeen("digits-latency", 2.25, 900.0, 3000, False, 6.0),
)
WAITING = RolloutReport(
    model="digits",
    canary="digits-2-first",
    version="2",
    stable="1",
    owner="vision-team",
    generation=12,
    state=RolloutState.WAITING,
    revision=7,
    step=1,
    steps=(
        StepReport(0.05, 120.0, 200, False, "", "done"),
        StepReport(0.25, 300.0, 1000, True, "digits-3-dark", "now"),
        StepReport(1.0, 0.0, 0, False, "", "later"),
    ),
    share=0.25,
    target_share=0.25,
    since_s=NOW_S - 90,
    waiting_for=("approval",),
    next_s=None,
    because="somebody has to promote it from 25%",
    verdict=VERDICT,
    transitions=(
        TransitionReport(NOW_S - 90, 7, RolloutState.RUNNING, RolloutState.WAITING, 1, 0.25, "judge", "approval"),
    ),
)
BACK = replace(WAITING, state=RolloutState.ROLLED_BACK, share=0.0, target_share=0.0, waiting_for=())
ANSWERS: dict[str, object] = {
    "GET /admin/rollouts": RolloutsReport(NOW_S, (WAITING,)),
    "GET /admin/rollouts/digits": BACK,
    "POST /admin/rollouts/digits/pause": replace(WAITING, state=RolloutState.PAUSED),
    "POST /admin/rollouts/digits/promote?from_step=1": WAITING,
    "POST /admin/rollouts/unseen/promote": replace(WAITING, model="unseen"),
    "POST /admin/rollouts/digits/promote?to=end": replace(WAITING, state=RolloutState.PROMOTED, share=1.0),
    "POST /admin/rollouts/digits/rollback": BACK,
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
            may_look = call != "GET /admin/rollouts/unseen"
            self.send_response(200 if call in ANSWERS else 409 if may_look else 403)
            self.end_headers()
            self.wfile.write(msgspec.json.encode(ANSWERS.get(call, {"message": "It is running, not paused."})))

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Management)
    found = Asked(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_orders_say_why_and_how_it_stands_then(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("pause", "digits", "--reason", "a look first"),
        ("promote", "digits", "--to-end", "--reason", "all is well"),
        ("rollback", "digits"),
    ):
        assert main(["rollout", *words, "--server", asked.server]) == 0
    assert asked.calls == [
        ("POST /admin/rollouts/digits/pause", {"reason": "a look first"}),
        ("POST /admin/rollouts/digits/promote?to=end", {"reason": "all is well"}),
        ("POST /admin/rollouts/digits/rollback", {"reason": "no reason was given"}),
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("digits: canary digits-2-first of version 2 is paused at 25%, step 2 of 3, waits for approval")
    assert lines[2] == "somebody has to promote it from 25%"
    assert lines[3] == "digits: canary digits-2-first of version 2 is rolled back at 0%"


def test_a_promotion_is_of_the_step_that_is_seen_by_those_who_may_look(
    asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in ("digits", "unseen"):
        assert main(["rollout", "promote", model, "--reason", "as agreed", "--server", asked.server]) == 0
    assert [call for call, _ in asked.calls] == [
        "GET /admin/rollouts/digits",
        "POST /admin/rollouts/digits/promote?from_step=1",
        "GET /admin/rollouts/unseen",
        "POST /admin/rollouts/unseen/promote",
    ]
    assert "somebody has to promote it from 25%" in capsys.readouterr().out


def test_a_promotion_may_be_of_the_step_that_somebody_saw(asked: Asked) -> None:
    promote = ["rollout", "promote", "digits", "--server", asked.server]
    assert main([*promote, "--from-step", "2"]) == 0
    assert main([*promote, "--from-step", "1"]) == 1
    assert main([*promote, "--from-step", "0"]) == 2
    assert main([*promote, "--from-step", "1.5"]) == 2
    assert main([*promote, "--from-step", "2", "--to-end"]) == 2
    assert [call.rpartition("?")[2] for call, _ in asked.calls] == ["from_step=1", "from_step=0"]


def test_what_makes_no_sense_is_refused_in_a_sentence(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "resume", "digits", "--server", asked.server]) == 1
    assert "It is running, not paused." in capsys.readouterr().err


def test_status_is_a_table_of_all_or_one_whole_or_json(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", "--server", asked.server]) == 0
    assert "approval" in capsys.readouterr().out
    assert main(["rollout", "status", "digits", "--server", asked.server]) == 0
    assert "is rolled back at 0%" in capsys.readouterr().out
    assert main(["rollout", "status", "digits", "--json", "--server", asked.server]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=RolloutReport) == BACK


def test_watching_ends_when_it_is_over(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "status", "digits", "--watch", "--server", asked.server]) == 0
    assert capsys.readouterr().out == "digits: canary digits-2-first of version 2 is rolled back at 0%\n"


def test_one_rollout_is_told_with_its_evidence_and_what_to_do_next() -> None:
    lines = rollout_text(WAITING, NOW_S).splitlines()
    for expected in (
        "beside version 1; owner vision-team, generation 12, in this step since 08:00:30Z (90 s ago)",
        "why: somebody has to promote it from 25%",
        "   2  25%    5m        1000  approval, shadow digits-3-dark  <- now",
        "verdict: Undecided: needs about 90 more bad keys of both versions.",
        "canary  2            3000   15  0.500%       3        14             2",
        "e-values, and what proves: harm 1.8 of 200; safe 4.2 of 100; within budget over a million of 100",
        "burn: digits-latency 2.25x over 15 min, limit 6x (3,000 requests, too few bad ones to judge by)",
        f"bad on version 2: penstock trace {TRACE}",
        "  let it go on: `penstock rollout promote digits --from-step 2 --reason TEXT`",
    ):
        assert expected in lines, "\n".join(lines)


def test_every_state_says_what_can_be_done() -> None:
    told = {state: next_lines(replace(WAITING, state=state)) for state in RolloutState}
    assert "`penstock rollout pause digits --reason TEXT`" in told[RolloutState.RUNNING][-1]
    assert "`penstock rollout resume digits --reason TEXT`" in told[RolloutState.PAUSED][0]
    assert told[RolloutState.PROMOTED][0] == 'write `stable: "2"` in routes/digits.yaml and remove its `canary:`'
    assert "write a new `id`" in told[RolloutState.ROLLED_BACK][-1]
    stuck = replace(WAITING, waiting_for=("traffic", "shadow", "capacity", "pods", "hold", "verdict"))
    assert len(next_lines(stuck)) == 6


def test_a_mesh_without_canaries_says_how_to_begin() -> None:
    assert rollouts_text(RolloutsReport(NOW_S, ())) == "no route has a canary: write `canary:` in routes/MODEL.yaml"
    assert in_one_line(replace(WAITING, waiting_for=("approval", "shadow"))).endswith("waits for approval and shadow")


def test_no_terminal_obeys_the_reason_of_whoever_changed_it() -> None:
    told = rollout_text(replace(BACK, because="odd\x1b[2J\nanswers"), NOW_S)
    assert "why: odd?[2J?answers" in told
