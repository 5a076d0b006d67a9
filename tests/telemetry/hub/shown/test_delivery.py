"""How telemetry's own health is shown: in trouble first, and whether it adds up."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.shown import fleet_answers
from telemetry.hub.shown.delivery import TelemetryView, difference, telemetry_view
from telemetry.hub.shown.fleet_answers import Telemetry
from tests.fakes.fleet import health, spans, telemetry


def view(*sidecars: tuple[str, Any], **changed: Any) -> TelemetryView:
    if sidecars:
        changed["sidecars"] = [{"name": name, "error": "", "health": told} for name, told in sidecars]
    return telemetry_view(msgspec.convert(telemetry(**changed), Telemetry))


def test_those_in_trouble_come_first_and_say_why() -> None:
    shown = view()
    assert [(row.name, row.says) for row in shown.rows] == [
        ("gateway", "not taken"),
        ("text/1/1", "silent"),
        ("digits/2/0", "sends"),
    ]
    gateway, silent, _ = shown.rows
    assert gateway.trouble == "ConnectError: All connection attempts failed, 3.00\u202fs ago"
    assert (gateway.waiting, gateway.lag, gateway.check) == ("300", "1\u202fm 35\u202fs", "adds up")
    assert silent.sentence == "It does not answer."
    assert (shown.silent, shown.in_trouble) == (1, 2)


def test_sums_that_hold_are_said_to_and_those_that_do_not_are_flagged() -> None:
    assert view().is_balanced
    # A file is removed whole: it may hold what was sent long ago, while nothing waits.
    assert [name for name, _ in view().total][-2:] == ["Waiting", "On disk and in memory"]
    assert "Sent + lost + waiting is what was to be exported" in view().sentence
    broken = view(("gateway", health(spans(sent=990))), ("a", health(spans(sent=1005))), ("b", health(spans())))
    assert not broken.is_balanced
    assert [(row.name, row.check, row.level) for row in broken.rows] == [
        ("gateway", "10 missing", "page"),
        ("a", "5 too many", "page"),
        ("b", "adds up", "ok"),
    ]
    assert "gateway, a" in broken.sentence


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 99), st.integers(0, 99), st.integers(-5, 5))
def test_the_difference_is_what_came_and_is_nowhere(sent: int, lost: int, memory: int, disk: int, off: int) -> None:
    told = spans(
        came=sent + lost + memory + disk + off, sent=sent, lost={"refused": lost}, in_memory=memory, on_disk=disk
    )
    assert difference(msgspec.convert(msgspec.to_builtins(told), fleet_answers.SpansHealth)) == off


def test_a_sidecar_without_a_receiver_only_counts() -> None:
    (row,) = view(("pod", health())).rows
    assert (row.says, row.level, row.receiver, row.is_balanced) == ("counts only", "none", "nowhere", True)
    assert "nothing can be added up" in view(("pod", health())).sentence


def test_what_falls_behind_and_a_disk_that_fails_are_told_apart() -> None:
    (late,) = view(("pod", health(spans(came=1001, on_disk=1, waited_s=31.0)))).rows
    (full,) = view(("pod", health(spans(disk_trouble="no space is left")))).rows
    assert (late.says, full.says) == ("behind", "disk fails")
    assert "no space is left" in full.sentence
    assert view(("pod", health(spans(taken_s=0.0)))).rows[0].taken == "never"


def test_what_was_told_is_added_up_over_all_by_kind_and_reason() -> None:
    requests, batches = view().fates
    assert (requests.kind, requests.told, requests.left_out) == ("requests at the gateway", "2\u202f000", "1\u202f360")
    assert requests.why == "share 600, error 40"
    assert batches.kept == "180 (100\u202f%)"
    assert view(("pod", health(records={}))).fates == ()


def test_losses_are_said_in_words_the_most_first() -> None:
    shown = view(hub=telemetry()["hub"] | {"lost": {"disk": 9}})
    assert [(loss.where, loss.what, loss.amount) for loss in shown.losses] == [
        ("gateway", "spans", 100),
        ("hub", "spans", 9),
        ("gateway", "records", 7),
    ]
    assert shown.losses[1].why == "the hub’s disk takes nothing"
    assert (shown.hub.says, shown.hub.level) == ("has lost spans", "ticket")


def test_copies_and_counts_that_the_gateway_lost_stand_with_the_others_each_loss_once() -> None:
    lost = [("copies", "away", 50), ("slo_saves", "failed", 8), ("copies", "too_large", 0)]
    records = [("records", "ring_full", 7), ("records", "tally", 2)]  # the first the gateway's sidecar tells too
    told = [{"what": what, "why": why, "count": count} for what, why, count in (*lost, *records)]
    shown = view(supervisor=told)
    assert [(loss.where, loss.what, loss.amount) for loss in shown.losses] == [
        ("gateway", "spans", 100),
        ("gateway supervisor", "copies", 50),
        ("gateway supervisor", "slo saves", 8),
        ("gateway", "records", 7),
        ("gateway supervisor", "records", 2),
    ]
    assert shown.losses[1].why == "of requests, for shadows and the like: the process that takes them was away"
    silent = [{"name": "gateway", "error": "It does not answer.", "health": None}]
    assert [loss.amount for loss in view(supervisor=told, sidecars=silent).losses] == [50, 8, 7, 2]


def test_the_hub_tells_what_it_stores_and_turned_away() -> None:
    facts = dict(view().hub.facts)
    assert facts["Posts turned away"] == "2 with 503"
    assert facts["Files"] == "3, 5.00\u202fMiB of 2.00\u202fGiB"
    assert facts["Oldest traces"].endswith("2\u202fh 46\u202fm ago")
    assert dict(view(hub=telemetry()["hub"] | {"oldest_s": None}).hub.facts)["Oldest traces"] == "none stored yet"
