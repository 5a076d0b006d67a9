"""What the mesh makes of its children's lines: whose they are, for people and for programs."""

from __future__ import annotations

import pytest

from deploy.local.told_line import companion_line, gateway_line, pod_line
from telemetry.logs.line import Facts, Level, as_json, as_line, record_of, warning


def line_of(process: str, role: str, text: str = "it happened") -> str:
    origin = Facts(process=process, role=role, pid=7, model="digits", version="1")
    return as_json(record_of(warning(text, "an.event"), origin, "", 0.0)).decode().rstrip()


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (gateway_line(line_of("gateway", "supervisor")), "gateway: it happened"),
        (gateway_line(line_of("gateway", "worker 1")), "gateway: worker 1 (pid 7): it happened"),
        (gateway_line(line_of("gateway", "copies")), "gateway: copies (pid 7): it happened"),
        (pod_line(line_of("pod", "server"), "digits/1/0"), "pod digits/1: it happened"),
        (pod_line(line_of("pod", "model"), "digits/1/0"), "pod digits/1/0| it happened"),
        (companion_line(line_of("sidecar", ""), "sidecar digits/1/0"), "sidecar digits/1/0: it happened"),
        (companion_line(line_of("hub", ""), "hub"), "hub: it happened"),
    ],
)
def test_a_record_is_shown_with_who_speaks_and_keeps_its_level_and_event(told: str, shown: str) -> None:
    line = as_line(told)
    assert str(line) == shown
    assert (line.level, line.event, line[line.prefix :]) == (Level.WARNING, "an.event", "it happened")


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (gateway_line("gateway: said by itself"), "gateway: said by itself"),
        (gateway_line("Fatal Python error"), "gateway| Fatal Python error"),
        (pod_line("pod digits/1: ready", "digits/1/0"), "pod digits/1: ready"),
        (pod_line("printed", "digits/1/0"), "pod digits/1/0| printed"),
        (companion_line("hub: said by itself", "hub"), "hub: said by itself"),
        (companion_line("printed", "sidecar gateway"), "sidecar gateway| printed"),
    ],
)
def test_what_is_no_record_says_who_it_is_or_is_tagged(told: str, shown: str) -> None:
    assert told == shown


def test_a_pod_cannot_speak_for_another_process() -> None:
    facts = as_line(pod_line(line_of("gateway", "supervisor"), "letters/2/0")).facts
    assert (facts.process, facts.model, facts.version, facts.pod) == ("pod", "letters", "2", "letters/2/0")
