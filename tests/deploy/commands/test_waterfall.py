"""A trace as text: the tree with its bars, the batch and who rode along, the parts; nothing commands a terminal."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from deploy.commands.waterfall import (
    BAR_COLUMNS,
    BatchReport,
    LinkReport,
    MemberReport,
    PartReport,
    SpanReport,
    TraceReport,
    draw,
    is_whole,
    plain,
    plain_json,
)
from telemetry.conventions import Attribute

MS = 1_000_000
START_NS = 1_800_000_000_000_000_000
BATCH_LINK = LinkReport("c" * 32, "e" * 16)


def span(name: str, span_id: str, parent_id: str, start_ms: int, took_ms: int, **changes: object) -> SpanReport:
    report = SpanReport(span_id, parent_id, name, START_NS + start_ms * MS, took_ms * MS, "unset", "", {})
    return replace(report, **changes)


SPANS = (
    span("pod.inference", "4", "3", 40, 20, links=(BATCH_LINK,)),
    span(
        "gateway.request",
        "1",
        "",
        0,
        100,
        attributes={"http.response.status_code": 200, "penstock.outcome": "good", "penstock.model": "digits"},
    ),
    span("pod.request", "3", "2", 12, 68),
    span("gateway.forward", "2", "1", 10, 80),
)
BATCH = BatchReport(
    "c" * 32,
    "e" * 16,
    {"penstock.batch.id": 7, "penstock.batch.rows": 4, "penstock.batch.requests": 2, "penstock.device": "cpu"},
    (span("pod.batch", "e" * 16, "", 20, 47),),
    (
        MemberReport("a" * 32, "request-1", 2, 0.006, is_this=True, is_stored=True, device_s=0.0125),
        MemberReport("b" * 32, "", 2, None, is_this=False, is_stored=False),
    ),
)
TRACE = TraceReport(
    "a" * 32,
    "request-1",
    START_NS,
    100 * MS,
    SPANS,
    (BATCH,),
    (PartReport("gateway", 20 * MS, 0.2), PartReport("inference", 20 * MS, 0.2)),
    0.4,
    "1",
)

DRAWN = f"""\
trace    {"a" * 32}
request  request-1
began    2027-01-15 08:00:00.000 UTC and took 100.000 ms
was      200, good, model digits

SPAN                   AFTER ms     TOOK ms
gateway.request           0.000     100.000  ########################################
  gateway.forward        10.000      80.000      ################################
    pod.request          12.000      68.000       ###########################
      pod.inference      40.000      20.000                  ########

batch 7: 4 rows of 2 requests on cpu, trace {"c" * 32}
SPAN         AFTER ms     TOOK ms
pod.batch      20.000      47.000          ###################
WHO RODE ALONG                    ROWS   WAITED ms   DEVICE ms  STORED
request-1 (this)                     2       6.000      12.500  yes
{"b" * 32}     2  -           -           no

PART            TOOK ms   SHARE
gateway          20.000   20.0%
inference        20.000   20.0%
unexplained      60.000   60.0%
all of it       100.000  100.0%
the parts cover 40.0% of the request's time"""


def test_a_trace_is_drawn_with_its_batch_and_its_parts() -> None:
    assert draw(TRACE, "#") == DRAWN


def test_the_headline_is_the_requests_also_inside_its_callers_trace() -> None:
    caller = span("caller", "9", "", -5, 120)
    longer = replace(TRACE, spans=(caller, *SPANS), start_ns=START_NS - 5 * MS, duration_ns=120 * MS)
    lines = draw(longer).splitlines()
    assert lines[2:4] == [
        "began    2027-01-15 08:00:00.000 UTC and took 100.000 ms, inside a trace of 120.000 ms",
        "was      200, good, model digits",
    ]


def test_a_callers_trace_that_was_not_gone_on_with_is_told() -> None:
    links = (LinkReport("d" * 32, "9"), LinkReport("f" * 32, "9", is_stored=True))
    drawn = draw(replace(TRACE, spans=(replace(SPANS[1], links=links),)))
    assert [line for line in drawn.splitlines() if line.startswith("linked")] == [
        f"linked   {'d' * 32} (not stored)",
        f"linked   {'f' * 32}",
    ]


def test_stages_that_began_at_once_are_in_the_order_of_a_requests_life() -> None:
    names = ("pod.postprocess", "pod.inference", "pod.preprocess", "pod.queue")
    tied = tuple(span(name, f"{at}", "", 40, 3 - at) for at, name in enumerate(names))
    lines = draw(replace(TRACE, spans=tied, batches=(), parts=())).splitlines()
    assert [line.split()[0] for line in lines if line.startswith("pod.")] == list(reversed(names))


def test_an_error_says_why_behind_its_bar() -> None:
    failed = replace(SPANS[3], status="error", message="pod_unreachable")
    assert "#  pod_unreachable" in draw(replace(TRACE, spans=(SPANS[1], failed)), "#")


def test_spans_outside_the_axis_and_of_no_length_have_a_bar_of_one_character_within_it() -> None:
    odd = (span("early", "1", "", -50, 10), span("late", "2", "", 500, 10), span("short", "3", "", 50, 0))
    lines = draw(replace(TRACE, spans=odd, batches=(), parts=()), "#").splitlines()
    bars = [line.split("  ", 1)[1] for line in lines if line.startswith(("early", "late", "short"))]
    assert all(bar.count("#") == 1 for bar in bars)
    assert max(len(line) for line in lines if "#" in line) <= len("early") + 2 * 13 + 2 + BAR_COLUMNS


def test_spans_that_claim_to_be_each_others_parents_are_drawn_once() -> None:
    circle = (span("first", "1", "2", 0, 10), span("second", "2", "1", 5, 10), span("own", "3", "3", 6, 1))
    text = draw(replace(TRACE, spans=circle, batches=(), parts=()))
    assert [text.count(name) for name in ("first", "second", "own")] == [1, 1, 1]


def test_a_deep_trace_is_drawn_without_recursion() -> None:
    deep = tuple(span("work", str(at), str(at - 1), at, 1) for at in range(1, 3000))
    assert draw(replace(TRACE, spans=deep, batches=(), parts=())).count("█") >= 2999


def test_what_spans_carry_cannot_command_a_terminal() -> None:
    assert plain("a\x1b[2Jb\nc\u202e") == "a?[2Jb?c?"
    hostile = "\x1b]0;owned\x07"
    attributes = {"penstock.model": hostile, "penstock.device": hostile, "penstock.batch.id": hostile}
    batch = replace(
        BATCH, attributes=attributes, members=(MemberReport(hostile, hostile, 1, 0.1, is_this=False, is_stored=True),)
    )
    named = span(hostile, "1", "", 0, 1, status="error", message=hostile)
    root = replace(SPANS[1], attributes=attributes)
    drawn = draw(replace(TRACE, request_id=hostile, trace_id=hostile, spans=(named, root), batches=(batch,)))
    assert "\x1b" not in drawn
    assert "\x07" not in drawn


def test_a_very_large_batch_shows_its_first_members() -> None:
    large = replace(BATCH, members=BATCH.members * 100)
    assert "and 136 more" in draw(replace(TRACE, batches=(large,)))


def test_a_trace_is_whole_when_every_sender_has_told_its_share() -> None:
    assert is_whole(TRACE)
    assert not is_whole(replace(TRACE, batches=()))
    assert not is_whole(replace(TRACE, spans=SPANS[1:2] + SPANS[3:]))
    assert not is_whole(replace(TRACE, spans=SPANS[:1] + SPANS[2:3]))


def test_a_refused_request_and_a_lost_attempt_wait_for_no_pod() -> None:
    assert is_whole(replace(TRACE, spans=SPANS[1:2], batches=()))
    assert is_whole(replace(TRACE, spans=(SPANS[1], replace(SPANS[3], status="error")), batches=()))


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\r\nline\x7f"
_NAMES = sorted(value for name, value in vars(Attribute).items() if name.isupper())


def test_nothing_that_spans_carry_commands_a_terminal_wherever_it_stands() -> None:
    every: dict[str, object] = dict.fromkeys(_NAMES, HOSTILE)
    spans = tuple(replace(one, name=HOSTILE, message=HOSTILE, status="error", attributes=every) for one in SPANS)
    root = replace(SPANS[1], attributes=every, message=HOSTILE, status=HOSTILE)
    members = (replace(BATCH.members[0], request_id=HOSTILE), replace(BATCH.members[1], trace_id=HOSTILE))
    batch = BatchReport(HOSTILE, HOSTILE, every, spans, members)
    listed = replace(batch, attributes={name: [HOSTILE, {HOSTILE: HOSTILE}] for name in _NAMES})
    parts = (PartReport(HOSTILE, 1, 0.1),)
    drawn = draw(TraceReport(HOSTILE, HOSTILE, START_NS, MS, (*spans, root), (batch, listed), parts, 1.0))
    assert "owned" in drawn
    assert all(line.isprintable() for line in drawn.split("\n"))


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.just(HOSTILE), st.floats(allow_nan=False)), max_size=4))
def test_json_for_a_terminal_says_the_same(document: dict[str, object]) -> None:
    shown = plain_json(f"{json.dumps(document, ensure_ascii=False)}\r\n")
    assert json.loads(shown) == document
    assert all(letter.isprintable() or letter in "\n\t" for letter in shown)
