"""What probes find is believed after so many findings in a row; an account of trouble at once."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.pod_table import Finding, Foreign, Silence
from gateway.control.steadiness import Steady
from model_pod.wire.status import PodState, PodStatus
from policies.snapshot.route import Health

UP = Foreign(is_ready=True)
DOWN = Foreign(is_ready=False)
SILENT = Silence("no answer within 1 s", timed_out=True)
OURS = PodStatus("digits", "1", PodState.READY, was_ready=True)


def believed(health: Health, *findings: Finding) -> list[Finding]:
    steady = Steady(health)
    return [steady.after(finding) for finding in findings]


def test_without_a_policy_every_finding_is_believed() -> None:
    findings: list[Finding] = [SILENT, UP, SILENT, SILENT, OURS, DOWN]
    assert believed(Health(), *findings) == findings


def test_a_pod_is_down_after_so_many_failures_in_a_row() -> None:
    assert believed(Health(down_after=3), UP, DOWN, SILENT, UP, DOWN, DOWN, DOWN) == [UP, UP, UP, UP, UP, UP, DOWN]


def test_silence_that_was_counted_is_not_waited_for_any_longer() -> None:
    lost = replace(SILENT, timed_out=False)
    assert believed(Health(down_after=2), UP, SILENT, SILENT) == [UP, UP, lost]


def test_a_pod_is_back_after_so_many_successes_in_a_row() -> None:
    assert believed(Health(up_after=2), DOWN, UP, DOWN, UP, UP) == [DOWN, DOWN, DOWN, DOWN, UP]


def test_the_first_finding_is_believed() -> None:
    assert believed(Health(up_after=5), UP) == [UP]
    assert believed(Health(down_after=5), SILENT) == [SILENT]


def test_what_a_pod_says_of_its_own_trouble_is_believed_at_once() -> None:
    failed = replace(OURS, state=PodState.FAILED)
    assert believed(Health(down_after=5), OURS, failed) == [OURS, failed]
