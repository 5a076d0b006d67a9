"""Every span and every part of a request's time has a colour that the style sheet knows."""

from __future__ import annotations

import re
from pathlib import Path

import telemetry.hub
from telemetry.conventions import SpanName
from telemetry.hub import parts
from telemetry.hub.shown.stages import HANDLER, STAGES, UNEXPLAINED, in_order, stage_of_part, stage_of_span

STYLE = (Path(telemetry.hub.__file__).parent / "static" / "penstock.css").read_text()
PARTS = (
    parts.GATEWAY,
    parts.LOST_ATTEMPT,
    parts.TRANSPORT,
    parts.DECODE,
    parts.QUEUE,
    parts.PREPROCESS,
    parts.INFERENCE,
    parts.POSTPROCESS,
    parts.ANSWER,
)


def test_every_span_of_ours_has_a_stage_of_its_own() -> None:
    names = [name for key, name in vars(SpanName).items() if key.isupper()]
    assert len(names) == 10
    stages = [stage_of_span(name) for name in names]
    assert len(set(stages)) == len(names)
    assert HANDLER not in stages


def test_a_span_that_is_not_ours_was_made_by_a_handler() -> None:
    assert stage_of_span("tokenise") == HANDLER


def test_every_part_has_a_stage_and_an_unknown_one_is_unexplained() -> None:
    assert UNEXPLAINED not in [stage_of_part(name) for name in PARTS]
    assert stage_of_part("something newer") == UNEXPLAINED


def test_every_stage_has_a_colour() -> None:
    assert set(re.findall(r"^\.stage-([a-z-]+) \{ fill: var\(--stage-\1\); \}$", STYLE, re.MULTILINE)) == set(STAGES)
    assert set(STAGES) <= set(re.findall(r"^  --stage-([a-z-]+): #", STYLE, re.MULTILINE))


def test_a_legend_is_in_the_order_of_a_requests_life() -> None:
    assert in_order(["answer", "queue", "gateway", "queue"]) == ("gateway", "queue", "answer")
