"""Canaries on live traffic: a good one is promoted, a broken one rolled back, and users stay where they are."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.decide.release import is_in, subject_of
from tests.system.conftest import Figure
from tests.system.mesh import eventually
from tests.system.releases.ground import Asked, Ground, broken_store, ground, until, until_shared, user_of

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

RATE_PER_S = 80.0
STEPS = "[{share: 10%, hold: 4s, at_least: 20}, {share: 50%, hold: 4s, at_least: 100}, {share: 100%}]"


def canary(version: str, steps: str = STEPS, burn: str = "") -> str:
    return (
        f'canary:\n  id: digits-{version}-live\n  version: "{version}"\n  sticky_by: [header:x-user-id, tenant]\n'
        f'  steps: {steps}\n  judge: {{compare_to: "1", no_traffic_for: 1h{burn}}}\n'
    )


def errors(asked: Sequence[Asked]) -> list[Asked]:
    return [one for one in asked if not one.record.is_right]


def test_a_good_candidate_is_promoted_untouched_and_users_only_ever_move_to_it(
    tmp_path: Path, model_store: Path, figure: Figure
) -> None:
    with ground(tmp_path, model_store, {"2": "digits-2.mar"}, canary("2")) as on:
        began_s = time.monotonic()
        asked = uvloop.run(on.ask(RATE_PER_S, 90.0, goes_on=lambda _: on.rollout()["state"] != "promoted"))
        asked += uvloop.run(on.ask(RATE_PER_S, 2.0))
        report = on.rollout()
        assert report["state"] == "promoted"
        took_s = time.monotonic() - began_s
        assert errors(asked) == []
        assert [step["state"] for step in report["steps"]] == ["done", "done", "now"]
        assert report["share"] == 1.0
        by_judge = [one for one in report["transitions"] if one["by"] not in ("judge", "policy")]
        assert by_judge == []
        _check_users_only_move_on(asked)
        audit = on.command("audit", "show", "--json").stdout
        assert audit.count("rollout") >= 3
        figure("digits-2 promoted", f"{len(asked)} requests, 0 failed, {took_s:.0f} s, {report['verdict']['because']}")


def _check_users_only_move_on(asked: Sequence[Asked]) -> None:
    versions: defaultdict[str, list[str]] = defaultdict(list)
    for one in sorted(asked, key=lambda one: one.record.started_s):
        versions[one.user].append(one.version)
    for user, seen in versions.items():
        assert "".join(seen) == "".join(sorted(seen)), f"{user} went back: {seen}"


# One that raises is in the guide "It went wrong", which is walked through.
@pytest.mark.parametrize("broken_by", ["crash", "late", "wrong"])
def test_a_broken_candidate_is_rolled_back_and_nobody_else_has_errors(
    tmp_path: Path, model_store: Path, broken_by: str, figure: Figure
) -> None:
    store = broken_store(model_store, tmp_path, broken_by, late_s=3.0)
    feedback = "feedback: {label: /label, for: 10m}\n"
    steps = "[{share: 20%, hold: 10m, at_least: 100000}, {share: 100%}]"
    # While the pod of one that crashes starts anew, requests wait: there are few answers to compare, and all are bad.
    burn = ", burn: {rollback_above: 20, over: 2m}" if broken_by == "crash" else ""
    with ground(tmp_path, store, {"3": "digits-3.mar"}, canary("3", steps, burn) + feedback) as on:

        def goes_on(latest: Sequence[Asked]) -> bool:
            if broken_by == "wrong":
                on.tell_labels([one for one in latest if one.record.is_right])
            return bool(on.rollout()["state"] != "rolled back")

        began_s = time.monotonic()
        asked = uvloop.run(on.ask(RATE_PER_S, 90.0, goes_on=goes_on))
        took_s = time.monotonic() - began_s
        report = until(on, "rolled back")
        after = uvloop.run(on.ask(RATE_PER_S, 2.0))
        _check_nobody_else_failed(asked, after, broken_by)
        verdict = report["transitions"][0]
        assert verdict["by"] == "judge"
        assert report["share"] == 0.0
        evidence = report["verdict"]
        assert evidence["says"] == "harm"
        assert evidence["candidate"]["bad_keys"] > 0
        assert evidence["candidate"]["examples"]
        _check_it_was_rolled_back_in_time(report, by_burn=broken_by == "crash")
        keys = evidence["candidate"]["bad_keys"] + evidence["stable"]["bad_keys"]
        figure(f"digits-3, {broken_by}", f"rolled back after {took_s:.1f} s and {keys} bad keys: {verdict['because']}")
        shown = on.command("rollout", "status", "digits")
        assert shown.returncode == 0, shown.stderr
        assert "rolled back" in shown.stdout


# What a broken candidate's own callers may be told. A slow one gets more than it can answer in time, too.
ITS_OWN_REFUSALS = {
    "crash": {
        *(b"inference_lost", b"no_pod_ready", b"pods_busy", b"queue_full", b"waited_too_long", b"would_be_late"),
    },
    "late": {b"pods_busy", b"queue_full", b"waited_too_long", b"would_be_late"},
    "wrong": set(),
}


def _check_nobody_else_failed(asked: Sequence[Asked], after: Sequence[Asked], broken_by: str) -> None:
    failed = Counter((one.arm, one.record.headers.get(b"penstock-reason", b"")) for one in errors(asked))
    assert set(failed) <= {("canary", reason) for reason in ITS_OWN_REFUSALS[broken_by]}
    assert {one.version for one in after} == {"1"}
    assert errors(after) == []


def _check_it_was_rolled_back_in_time(report: dict[str, Any], *, by_burn: bool) -> None:
    """What a burn rate proves has no e-value that crosses a line."""
    evidence = report["verdict"]
    proved_s = [at_s for at_s, _, harm, _ in evidence["history"] if harm >= evidence["proved_at"]]
    assert proved_s or by_burn
    if proved_s:
        assert report["transitions"][0]["at_s"] - proved_s[0] <= 30.0


def test_shares_are_kept_users_stay_over_restarts_and_whoever_is_left_out_is_in_neither_arm(
    tmp_path: Path, model_store: Path, figure: Figure
) -> None:
    steps = "[{share: 25%, hold: 1h, at_least: 1000000}, {share: 60%, hold: 1h}, {share: 100%}]"
    with ground(tmp_path, model_store, {"2": "digits-2.mar"}, canary("2", steps)) as on:
        until_shared(on, 0.25)
        first = _versions(uvloop.run(on.ask(200.0, 4.0)))
        expected = {
            user_of(n): "2" if is_in(subject_of("digits-2-live", user_of(n)), 0.25) else "1" for n in range(400)
        }
        assert first == expected
        _check_share(first, 0.25, figure)
        before = on.rollout()
        _kill_supervisor(on)
        assert _versions(uvloop.run(on.ask(200.0, 4.0))) == first
        after = on.rollout()
        assert (after["revision"], after["step"], after["since_s"]) == (
            before["revision"],
            before["step"],
            before["since_s"],
        )
        done = on.command("rollout", "promote", "digits", "--reason", "a test")
        assert done.returncode == 0, done.stderr
        until_shared(on, 0.6)
        second = _versions(uvloop.run(on.ask(200.0, 4.0)))
        assert all(second[user] == "2" for user, version in first.items() if version == "2")
        _check_share(second, 0.6, figure)
        assert on.command("rollout", "rollback", "digits", "--reason", "a test").returncode == 0
        until_shared(on, 0.0)
        assert set(_versions(uvloop.run(on.ask(200.0, 2.0))).values()) == {"1"}


def _versions(asked: Sequence[Asked]) -> dict[str, str]:
    assert errors(asked) == []
    versions: dict[str, set[str]] = defaultdict(set)
    for one in asked:
        versions[one.user].add(one.version)
    assert all(len(seen) == 1 for seen in versions.values())
    return {user: next(iter(seen)) for user, seen in versions.items()}


def _check_share(versions: dict[str, str], share: float, figure: Figure) -> None:
    """Chi-square of two cells: below 10.83 in 99.9 % of draws."""
    count = sum(version == "2" for version in versions.values())
    expected = share * len(versions)
    chi_square = (count - expected) ** 2 * (1 / expected + 1 / (len(versions) - expected))
    figure(f"share {share:.0%} of {len(versions)} users", f"{count}, chi-square {chi_square:.2f}")
    assert chi_square < 10.83


def _kill_supervisor(on: Ground) -> None:
    (pid,) = on.mesh.pids("penstock gateway supervisor")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: on.mesh.pids("penstock gateway supervisor") not in ([], [pid]), "another supervisor runs")
    eventually(lambda: _is_answering(on), "the mesh answers again")


def _is_answering(on: Ground) -> bool:
    try:
        return bool(on.rollout()) and on.mesh.api.get(f"{on.mesh.published().inference}/readyz").status_code == 200
    except Exception:
        return False
