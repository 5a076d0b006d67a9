"""What people read of shadows and replays."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from deploy.commands.shadow_text import progress_text, replay_text, shadow_text, shadows_text
from gateway.copies.reports import Fourfold, LabelReport, ReplayReport, ShadowReport, ShadowSays
from tests.gateway.copies.shadow_reports import DIFFERS, DONE, RUNNING

EMPTY = ShadowReport(
    model="digits",
    name="dark",
    version="3",
    generation=4,
    since_s=0.0,
    at_s=1.0,
    says=ShadowSays.NOT_ENOUGH,
    because="nothing is compared yet; a verdict needs 500",
    compared=0,
    differ=0,
    repeats=0,
    repeats_differ=0,
    harm=1.0,
    safe=1.0,
    proved_at=100.0,
    needs=500,
    answers=Fourfold(),
    latency=None,
    labels=LabelReport(),
    outputs=(),
    slices=(),
    worst=(),
    not_copied={},
    device_s=0.0,
)


@pytest.mark.parametrize(
    "part",
    [
        "digits: shadow dark, version 3: DIFFERS\n",
        "3.1 % of 1200 answers differ, and 0 of 24 of stable's own",
        "since 2026-11-20 09:00:00Z",
        "1200, of which 37 (3.08%) differ",
        "24 that differ were answered once more by stable, 0 (0.00%) otherwise",
        "differs 812, is the same 0.001; proved at 100\n",
        "1190 both good, 8 only the shadow failed, 1 only stable failed, 1 both failed",
        "p50 8 ms beside 4 ms (2.00x), p99 21 ms beside 11 ms (1.91x)",
        "50 both right, 4 only stable right, 1 only the shadow right, 2 both wrong",
        "device time   7 s",
        "/label",
        "tenant  ads",
        "total",
        "12.5x",
        "9" * 32,
        f"{'x' * 37}...",
        "not compared  12: its pods had enough to do",
        "not compared  3: too many copies waited already",
        "next: look at the differences",
    ],
)
def test_a_report_says_what_is_known_and_what_to_do(part: str) -> None:
    assert part in shadow_text(DIFFERS)


def test_nothing_is_said_of_what_there_is_none_of() -> None:
    text = shadow_text(EMPTY)
    assert "nothing is compared yet" in text
    assert "about 500 more comparisons are needed" in text
    assert "next: wait, or copy more: `sample` of the shadow in routes/digits.yaml" in text
    for word in ("noise", "latency", "late labels", "OUTPUT", "worst", "BY", "not compared", "nan", "None"):
        assert word not in text
    assert "no pod" not in shadow_text(DIFFERS)  # there was always one


def test_every_verdict_has_its_next_step() -> None:
    steps = {says: shadow_text(replace(DIFFERS, says=says)).splitlines()[-1] for says in ShadowSays}
    assert len(set(steps.values())) == len(ShadowSays)
    assert "`canary` of version 3 in routes/digits.yaml" in steps[ShadowSays.SAME]


def test_several_shadows_are_told_apart_and_none_is_told_too() -> None:
    both = shadows_text([DIFFERS, EMPTY], "digits")
    assert both.count("digits: shadow dark") == 2
    assert "write `shadow:` in routes/digits.yaml, if there is one" in shadows_text([], "digits")


@pytest.mark.parametrize(
    ("replay", "first"),
    [
        (DONE, "digits: replay 7 to version 3: DIFFERS"),
        (
            replace(DONE, state="cancelled"),
            "digits: replay 7 to version 3: DIFFERS so far, cancelled",
        ),
        (
            replace(DONE, state="failed", because="no pod of digits/3 is ready", report=EMPTY),
            "digits: replay 7 to version 3: failed, no pod of digits/3 is ready",
        ),
        (
            replace(RUNNING, state="failed", because="digits has no shadow light"),
            "digits: replay 7 to version 3: failed, digits has no shadow light",
        ),
    ],
)
def test_the_first_line_of_a_replay_says_how_it_went(replay: ReplayReport, first: str) -> None:
    assert replay_text(replay).splitlines()[0] == first


def test_a_replay_says_how_much_of_what_is_recorded_was_sent() -> None:
    assert "500 of the latest 500 were sent, of 900 that are recorded" in replay_text(DONE)
    same = replace(DONE, report=replace(DIFFERS, says=ShadowSays.SAME))
    assert "next: copy live requests to it" in replay_text(same)
    assert progress_text(DONE) == "sent 500 of 500, 37 differ"
    assert progress_text(RUNNING) == "sent 20 of 500, 0 differ"


def test_no_terminal_obeys_what_is_in_an_answer() -> None:
    difference = replace(DIFFERS.worst[0], path="/by/\x1b[2Jbob", stable='"\x9b2J"', shadow="\x1b]0;x\x07")
    text = shadow_text(replace(DIFFERS, worst=(difference,)))
    assert "/by/?[2Jbob" in text
    assert text.replace("\n", "").isprintable()
