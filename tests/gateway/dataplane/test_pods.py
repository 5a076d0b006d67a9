"""The table of pods: kept while the supervisor describes them anew, picked from by model and version."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from gateway.control.messages import PodView
from gateway.dataplane.health import Standing
from gateway.dataplane.pods import NoPod, Pod, PodTable
from model_pod.wire.link import LINK_VERSION
from model_pod.wire.status import PodState
from policies.snapshot.route import Balance, Eject, Route, Version

FIRST = PodView("digits/1/0", "digits", "1", "unix:/none/0", PodState.READY, was_ready=True)
SECOND = replace(FIRST, name="digits/1/1", address="unix:/none/1")


@pytest.fixture
def table() -> Iterator[PodTable]:
    loop = asyncio.new_event_loop()
    yield PodTable(loop)
    loop.close()


def pick(table: PodTable, *tried: Pod, version: str = "1", in_flight: int = 8, now_s: float = 0.0) -> Pod:
    return table.pick("digits", version, in_flight, 0.5, now_s, tried)


def refusal(table: PodTable, *tried: Pod, version: str = "1", in_flight: int = 8) -> tuple[str, str]:
    with pytest.raises(NoPod) as none:
        pick(table, *tried, version=version, in_flight=in_flight)
    return none.value.reason, str(none.value)


def test_pods_are_picked_by_model_and_version(table: PodTable) -> None:
    table.replace((FIRST, replace(SECOND, version="2")))
    assert pick(table).view is FIRST
    assert pick(table, version="2").view.version == "2"


def test_a_pod_that_stays_keeps_what_it_has(table: PodTable) -> None:
    table.replace((FIRST,))
    pod = pick(table)
    pod.sent(0.0)
    table.replace((replace(FIRST, state=PodState.RESTARTING), SECOND))
    assert table.of_version("digits", "1")[0] is pod
    assert (pod.outstanding, pod.view.state, pod.state) == (1, PodState.RESTARTING, PodState.RESTARTING)
    assert pick(table).view is SECOND


def test_pods_that_are_gone_are_not_picked(table: PodTable) -> None:
    table.replace((FIRST, SECOND))
    table.replace((SECOND,))
    assert {pick(table).view.name for _ in range(20)} == {SECOND.name}
    table.replace(())
    assert table.of_version("digits", "1") == ()


def test_a_refusal_says_what_the_pods_are_doing(table: PodTable) -> None:
    assert refusal(table) == ("no_pod_ready", "no pod of digits/1 is ready (none exists); try again shortly")
    starting = replace(FIRST, state=PodState.FAILED, was_ready=False, message="the archive is broken")
    table.replace((starting,))
    assert refusal(table) == (
        "no_pod_ready",
        "no pod of digits/1 is ready (failed: the archive is broken); it is loaded again now and then, and its owner "
        "has to mend it",
    )


def test_a_refusal_for_want_of_room_says_how_much_there_is(table: PodTable) -> None:
    table.replace((FIRST,))
    pod = pick(table)
    pod.sent(0.0)
    assert refusal(table, in_flight=1) == ("pods_busy", "every pod of digits/1 has 1 requests; try again shortly")
    assert refusal(table, pod)[0] == "no_pod_ready"


def test_a_key_finds_its_pod_and_is_refused_as_others_are(table: PodTable) -> None:
    with pytest.raises(NoPod) as none:
        table.pick_keyed("digits", "1", b"order-1", 8, 0.0)
    assert none.value.reason == "no_pod_ready"
    table.replace((FIRST, SECOND))
    owner = table.pick_keyed("digits", "1", b"order-1", 8, 0.0)
    assert table.pick_keyed("digits", "1", b"order-1", 8, 0.0) is owner
    owner.sent(0.0)
    with pytest.raises(NoPod) as none:
        table.pick_keyed("digits", "1", b"order-1", 1, 0.0)
    assert none.value.reason == "pods_busy"


@pytest.mark.parametrize("is_first", [True, False])
def test_policy_reaches_pods_whichever_comes_first(table: PodTable, is_first: bool) -> None:
    eject = Eject(after_failures=1, for_s=1.0, at_most_s=2.0, max_share=0.5)
    routes = {"digits": Route("digits", "us", {"1": Version("1", balance=Balance(1), eject=eject)}, "1")}
    if is_first:
        table.use(routes)
    table.replace((FIRST, SECOND))
    if not is_first:
        table.use(routes)
    pod = table.of_version("digits", "1")[0]
    pod.failed(5.0)
    assert pod.health.standing is Standing.EJECTED
    assert pod.health.until_s == 6.0


def test_a_pod_that_turns_out_to_speak_the_link_is_spoken_to_by_it(table: PodTable) -> None:
    table.replace((replace(FIRST, state=PodState.STARTING),))
    pod = table.of_version("digits", "1")[0]
    before = pod.upstream
    table.replace((replace(FIRST, link=LINK_VERSION),))
    by_link = pod.upstream
    assert by_link is not before
    table.replace((replace(FIRST, state=PodState.STARTING, link=0),))  # it is silent, and has not forgotten how
    table.replace((replace(FIRST, link=LINK_VERSION),))
    assert pod.upstream is by_link


def test_what_is_usual_is_known_with_the_first_answer(table: PodTable) -> None:
    assert table.usual_latency_s("digits", "1") == 0.0
    table.replace((FIRST, SECOND))
    assert table.usual_latency_s("digits", "1") == 0.0
    table.of_version("digits", "1")[0].answered(0.0, 0.25)
    assert table.usual_latency_s("digits", "1") == 0.25


def test_ejections_are_counted_by_model_as_long_as_policy_has_it(table: PodTable) -> None:
    route = Route("digits", "vision", {"1": Version("1", eject=Eject(after_failures=1))}, "1")
    table.use({"digits": route})
    table.replace((FIRST, SECOND))
    failing = pick(table)
    failing.failed(0.0)
    assert (table.ejections, failing.health.standing) == ({"digits": 1}, Standing.EJECTED)
    failing.health.until_s = 0.0
    table.replace((FIRST, SECOND))
    assert pick(table, now_s=1.0) is failing
    failing.failed(1.0)
    assert table.ejections == {"digits": 2}
    table.replace((SECOND,))
    assert table.ejections == {"digits": 2}
    table.use({})
    assert table.ejections == {}
