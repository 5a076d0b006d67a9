"""What a mesh does, from two looks at it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from deploy.commands.screens.board import VersionLine, board, objective_state
from gateway.control.reports import PodReport
from tests.deploy.commands.screens.boards import BEFORE, ENDING, NOW, pod, shown, slo
from tests.deploy.commands.test_slo import ALERT, SLO


def version(name: str) -> VersionLine:
    return next(one for one in shown().versions if f"{one.model}/{one.version}" == name)


def test_means_and_shares_of_pods_are_of_what_happened_between() -> None:
    first, second, *_ = shown().pods
    assert (first.batch_rows, first.busy) == (7.0, 0.5)
    assert (second.batch_rows, second.busy) == (2.0, 1.0)  # no device is held for longer than there is time
    digits = version("digits/1")
    assert digits.batch_rows == pytest.approx(38 / 9)
    assert (digits.busy, digits.queued_rows, digits.ready_pods, digits.pods) == (0.75, 12, 2, 2)


def test_a_pod_that_began_anew_has_no_past() -> None:
    anew = shown().pods[2]
    assert (anew.batch_rows, anew.busy) == (None, None)
    assert version("digits/2").batch_rows is None


def test_one_look_alone_tells_no_share() -> None:
    assert {(one.batch_rows, one.busy) for one in board(None, NOW).pods} == {(None, None)}
    at_once = msgspec.structs.replace(NOW, at_s=BEFORE.at_s + 0.01)
    assert {one.busy for one in board(BEFORE, at_once).pods} == {None}


def test_a_version_has_what_the_gateway_measured_and_the_worst_of_its_models_budgets() -> None:
    digits, text = version("digits/1"), version("text/1")
    assert (digits.requests_per_s, digits.p99_s, digits.is_stable) == (1234.5, 0.0184, True)
    assert (digits.budget, digits.is_budget_sure, digits.state) == (-0.3315, False, "page")
    assert version("digits/2").is_stable is False
    assert (text.state, text.queued_rows, text.p50_s) == ("failed", None, None)


def test_a_stable_version_without_pods_is_there_too() -> None:
    lonely = board(None, msgspec.structs.replace(NOW, pods=[]))
    assert [one.state for one in lonely.versions] == ["no pod"] * 3


def test_pages_come_before_tickets_with_what_is_left_of_time() -> None:
    page, likely = shown().firing
    assert (page.severity, page.slo, page.lasted_s, page.exhaustion_s) == ("page", SLO.name, 960.0, 122_400.0)
    assert (likely.name, likely.lasted_s, likely.exhaustion_s) == ("breach likely", 600.0, 7200.0)


@pytest.mark.parametrize(
    ("tiers", "state"), [(["likely"], "likely"), (["likely", "slow"], "ticket"), (["slow"], "ticket")]
)
def test_a_ticket_that_only_foretells_is_told_apart(tiers: list[str], state: str) -> None:
    alerts = [replace(ALERT, severity="ticket", tier=tier) for tier in tiers]  # type: ignore[arg-type]  # of its words
    assert objective_state(replace(ENDING, alerts=alerts)) == state


def test_the_headline_adds_up_and_says_nothing_of_what_may_not_be_seen() -> None:
    head = shown().headline
    assert (head.state, head.in_flight, head.waiting, head.workers_wanted) == ("ready", 1, 6, 1)
    assert head.requests_per_s == pytest.approx(1247.0)
    assert board(None, msgspec.structs.replace(NOW, status=None)).headline.in_flight is None


def test_a_server_that_gives_no_account_is_listed_without_one() -> None:
    foreign: PodReport = pod("other/1/0", device_s=None, batches=None, batch_rows=None, pid=None, device=None)
    looks = [msgspec.structs.replace(look, pods=[foreign], slo=slo()) for look in (BEFORE, NOW)]
    (line,) = board(*looks).pods
    assert (line.busy, line.batch_rows, line.device) == (None, None, "")
