"""What is told of a shadow follows from the answers that were compared, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json
from msgspec.structs import replace

from gateway.copies.compare.answer import Answer
from gateway.copies.compare.comparison import Comparison
from gateway.copies.reports import Fourfold, LabelReport, ShadowReport, ShadowSays
from policies.snapshot.release import Compare, Privacy, Shadow, ShadowVerdict
from tests.gateway.copies.compare.exchanges import NO_ANSWER, answered, binary, says, tensors

LABEL = Compare("/label", "label")
SHADOW = Shadow("dark", "2", 0.1, outputs=(LABEL,), verdict=ShadowVerdict(at_least=50))
CAT, DOG, COW = says({"label": "cat"}), says({"label": "dog"}), says({"label": "cow"})


def new(shadow: Shadow = SHADOW) -> Comparison:
    return Comparison(shadow, "digits", 7)


def compare(
    comparison: Comparison, times: int, stable: Answer, shadow: Answer, again: Answer | None, at: int = 0
) -> int:
    """Tell of so many copies; returns how many second answers were asked for."""
    asked = 0
    for number in range(at, at + times):
        request = answered(f"r-{number}")
        if comparison.compared(request, 100, stable, shadow, 1000.0 + number):
            asked += 1
            if again is not None:
                comparison.repeated(request, stable, again, 1000.0 + number)
    return asked


def reported(comparison: Comparison) -> ShadowReport:
    return comparison.report(5000.0)


# --- verdicts


def test_before_anything_was_compared_it_says_so() -> None:
    comparison = new()
    comparison.not_copied("no_pod")
    report = reported(comparison)
    assert (report.says, report.needs, report.since_s) == (ShadowSays.NOT_ENOUGH, None, 0.0)
    assert report.because == "nothing was compared yet; 1 request not copied: no_pod"
    assert report.not_copied == {"no_pod": 1}
    assert json.decode(json.encode(report))["says"] == "not enough data"


def test_there_is_no_verdict_before_so_many_comparisons() -> None:
    comparison = new()
    compare(comparison, 49, CAT, DOG, CAT)
    report = reported(comparison)
    assert report.says is ShadowSays.NOT_ENOUGH
    assert report.needs == 1
    assert report.harm > report.proved_at
    compare(comparison, 1, CAT, DOG, CAT, at=49)
    assert reported(comparison).says is ShadowSays.DIFFERS


def test_a_version_that_answers_alike_is_the_same() -> None:
    comparison = new()
    assert compare(comparison, 800, CAT, CAT, None) == 0
    report = reported(comparison)
    assert (report.says, report.needs, report.differ) == (ShadowSays.SAME, 0, 0)
    assert report.because.startswith("0 of 800 answers differ (0 %); nothing differs: within 1 %, which is proved")


def test_what_stable_does_to_itself_is_noise() -> None:
    """The shadow differs every tenth time; asked again, stable is the odd one as often as the shadow."""
    comparison = new(replace(SHADOW, repeat_stable=0.2))
    for number in range(1000):
        if number % 10:
            compare(comparison, 1, CAT, CAT, None, at=number)
        else:
            compare(comparison, 1, CAT, DOG, DOG if number % 20 else CAT, at=number)
    report = reported(comparison)
    assert (report.differ, report.repeats, report.repeats_differ) == (100, 100, 50)
    assert report.harm < report.proved_at
    assert report.says is not ShadowSays.DIFFERS


def test_where_nobody_alone_is_odd_nothing_speaks_against_the_same() -> None:
    comparison = new()
    compare(comparison, 780, CAT, CAT, None)
    compare(comparison, 20, CAT, DOG, COW, at=780)
    report = reported(comparison)
    assert (report.says, report.repeats, report.repeats_differ) == (ShadowSays.SAME, 20, 20)


def test_second_answers_that_never_come_prove_nothing() -> None:
    comparison = new()
    compare(comparison, 200, CAT, DOG, None)
    report = reported(comparison)
    assert report.says is ShadowSays.NOT_ENOUGH
    assert report.repeats == 0
    assert max(report.harm, report.safe) < report.proved_at


def test_a_second_answer_that_failed_proves_nothing_either() -> None:
    comparison = new()
    compare(comparison, 200, CAT, DOG, NO_ANSWER)
    report = reported(comparison)
    assert (report.repeats, report.says) == (0, ShadowSays.NOT_ENOUGH)


def test_a_second_answer_nobody_asked_for_says_nothing() -> None:
    comparison = new()
    before = comparison.kept()
    comparison.repeated(answered(), CAT, DOG, 1000.0)
    assert comparison.kept() == before


def test_without_second_answers_every_difference_is_the_shadow_s() -> None:
    comparison = new(replace(SHADOW, repeat_stable=0.0))
    assert compare(comparison, 50, CAT, DOG, None) == 0
    report = reported(comparison)
    assert report.says is ShadowSays.DIFFERS
    assert "nobody was asked again" in report.because


def test_asking_again_keeps_to_its_share() -> None:
    comparison = new()
    assert 50 <= compare(comparison, 4000, CAT, DOG, CAT) <= 50 + 4000 * 0.02 * 1.5


def test_a_version_that_fails_where_stable_does_not_is_worse() -> None:
    comparison = new()
    compare(comparison, 480, CAT, CAT, None)
    compare(comparison, 40, CAT, NO_ANSWER, CAT, at=480)
    report = reported(comparison)
    assert report.says is ShadowSays.WORSE
    assert report.answers == Fourfold(480, 40, 0, 0)
    assert "it failed on 40 requests that were answered well, and the other way round on 0" in report.because
    assert report.outputs[0].compared == 480


def test_a_version_that_fails_where_stable_fails_is_not() -> None:
    comparison = new()
    compare(comparison, 800, says("", 503), NO_ANSWER, None)
    report = reported(comparison)
    assert (report.says, report.answers) == (ShadowSays.SAME, Fourfold(0, 0, 0, 800))
    assert report.latency is None


def test_late_labels_tell_whether_what_differs_is_worse() -> None:
    def with_labels(stable_right: bool) -> ShadowReport:
        comparison = new()
        compare(comparison, 100, CAT, DOG, CAT)
        for number in range(30):
            comparison.labelled(f"r-{number}", stable_right, not stable_right)
        comparison.labelled("r-98", True, True)
        comparison.labelled("r-99", False, False)
        return reported(comparison)

    worse, better = with_labels(True), with_labels(False)
    assert worse.says is ShadowSays.WORSE
    assert worse.labels == LabelReport(1, 30, 0, 1)
    assert "of late labels 30 prove only the answer that was given right" in worse.because
    assert better.says is ShadowSays.DIFFERS
    assert "1 agree with the answer that was given, 31 with the shadow's" in better.because


def test_a_path_to_nothing_is_never_the_same() -> None:
    comparison = new(replace(SHADOW, outputs=(LABEL, Compare("/lable", "label"))))
    compare(comparison, 1000, CAT, CAT, None)
    report = reported(comparison)
    assert report.says is ShadowSays.NOT_ENOUGH
    assert report.because == (
        "1,000 answers of 1,000 have nothing at /lable, on neither side: is the path of this output right?"
    )


def test_what_was_proved_stays_proved() -> None:
    comparison = new(replace(SHADOW, verdict=ShadowVerdict(at_least=1)))
    number = 0
    while reported(comparison).says is not ShadowSays.DIFFERS:
        compare(comparison, 1, CAT, DOG, CAT, at=number)
        number += 1
    assert number < 20
    proved = reported(comparison).harm
    compare(comparison, 1000, CAT, CAT, None, at=number)
    report = reported(comparison)
    assert (report.says, report.harm) == (ShadowSays.DIFFERS, proved)


def test_how_many_more_are_needed_is_told() -> None:
    comparison = new(replace(SHADOW, verdict=ShadowVerdict(at_least=1)))
    compare(comparison, 200, CAT, CAT, None)
    report = reported(comparison)
    assert report.says is ShadowSays.NOT_ENOUGH
    assert report.needs is not None
    compare(comparison, report.needs, CAT, CAT, None, at=200)
    assert reported(comparison).says is ShadowSays.SAME


# --- what counts as a difference


@pytest.mark.parametrize(
    ("stable", "shadow", "differs"),
    [
        (CAT, CAT, False),
        (CAT, DOG, True),
        (CAT, says({"label": "cat"}, 422), True),
        (says({"label": "cat"}, 422), says({"other": 1}, 400), False),
        (CAT, says({"label": "cat"}, 500), True),
        (says("", 500), NO_ANSWER, False),
        (CAT, says({"lab": "cat"}), True),
        (says({}), says({}), False),
        (CAT, Answer(200, b"", b"\xff", 0.01), True),
        (CAT, Answer(200, b"", b"[" * 9999, 0.01), True),
    ],
)
def test_one_copy_differs(stable: Answer, shadow: Answer, differs: bool) -> None:
    comparison = new()
    compare(comparison, 1, stable, shadow, None)
    assert reported(comparison).differ == differs


def test_any_part_may_differ_and_each_is_told_apart() -> None:
    outputs = (LABEL, Compare("/score", "number", metric="abs", differ_above=0.1), Compare("/top", "ranking"))
    comparison = new(replace(SHADOW, outputs=outputs))
    compare(comparison, 1, says({"label": "cat", "score": 0.5}), says({"label": "cat", "score": 0.75}), None)
    compare(comparison, 1, says({"label": "cat", "top": [1, 2]}), says({"label": "dog", "top": [1, 3]}), None, at=1)
    report = reported(comparison)
    assert report.differ == 2
    assert [(each.compared, each.differ, each.unlike, each.mean, each.largest) for each in report.outputs] == [
        (2, 1, 0, 0.5, 1.0),
        (1, 1, 0, 0.25, 0.25),
        (1, 1, 0, 0.5, 0.5),
    ]
    assert [each.metric for each in report.outputs] == [
        "equal, differs when it is not",
        "abs, differs above 0.1; 1 in which neither side has it",
        "overlap@10, differs below 1; the least was 0.5; 1 in which neither side has it",
    ]


@pytest.mark.parametrize("kind", ["number", "probabilities", "ranking", "text", "json"])
def test_any_kind_may_have_to_be_equal(kind: str) -> None:
    comparison = new(replace(SHADOW, outputs=(Compare("/p", kind, metric="equal"),)))
    near = says({"p": [0.5, 0.500000001]})
    assert compare(comparison, 1, says({"p": [0.5, 0.5]}), near, None) == 1
    compare(comparison, 1, near, near, None, at=1)
    report = reported(comparison)
    assert (report.differ, report.outputs[0].metric) == (1, "equal, differs when it is not")


def test_binary_and_json_tensors_are_compared_with_each_other() -> None:
    told = ("scores", "FP32", [2], [0.5, 2.0])
    near = ("scores", "FP32", [2], [0.5, 2.00001])
    for path in ("/outputs/0/data", ""):
        kind = "number" if path else "json"
        comparison = new(replace(SHADOW, outputs=(Compare(path, kind),)))
        compare(comparison, 1, binary(told), tensors(near, version="2"), None)
        assert reported(comparison).differ == 0
        compare(comparison, 1, binary(told), binary(("scores", "FP32", [2], [0.5, 3.0])), None, at=1)
        assert reported(comparison).differ == 1


# --- slices, times, devices, the worst


def test_slices_times_and_devices_are_told() -> None:
    comparison = new()
    slow = says({"label": "dog"}, took_s=0.1, device_us=500_000)
    comparison.compared(answered("r-1", "ads"), 100, CAT, slow, 1000.0)
    comparison.compared(answered("r-2", "news"), 5000, CAT, CAT, 1001.0)
    report = reported(comparison)
    assert [(each.by, each.name, each.compared, each.differ) for each in report.slices] == [
        ("tenant", "ads", 1, 1),
        ("tenant", "news", 1, 0),
        ("size", "below 256 B", 1, 1),
        ("size", "4 KiB to 16 KiB", 1, 0),
    ]
    assert report.latency is not None
    assert report.latency.stable_p99_s == pytest.approx(0.01, rel=0.03)
    assert report.latency.shadow_p99_s == pytest.approx(0.1, rel=0.03)
    assert (report.device_s, report.since_s, report.at_s, report.generation) == (0.5, 1000.0, 5000.0, 7)


def test_the_largest_differences_are_kept_first_and_not_for_ever() -> None:
    shadow = replace(SHADOW, outputs=(Compare("", "json"),), privacy=Privacy(keep_s=100.0))
    comparison = new(shadow)
    for number, score in enumerate((0.0, 3.0, 1.0)):
        request = answered(f"r-{number}")
        comparison.compared(request, 10, says({"x": {"y": 0.0}}), says({"x": {"y": score}}), 1000.0 + number)
    worst = comparison.report(1002.0).worst
    assert [(each.request_id, each.path) for each in worst] == [("r-1", "/x/y"), ("r-2", "/x/y")]
    assert worst[0].trace_id == "trace of r-1"
    assert worst[0].distance == pytest.approx(3e5)
    assert worst[0].stable == worst[1].stable != worst[0].shadow
    assert [each.request_id for each in comparison.report(1101.5).worst] == ["r-2"]


def test_a_side_that_failed_is_a_difference_without_a_path() -> None:
    comparison = new()
    compare(comparison, 1, CAT, NO_ANSWER, None)
    (worst,) = reported(comparison).worst
    assert (worst.path, worst.distance, worst.stable, worst.shadow) == ("", 1e308, "", "")


@given(st.text("abcdef", min_size=10, max_size=12), st.sampled_from(["digests", "nothing", "bodies"]))
def test_a_planted_secret_is_in_neither_the_report_nor_what_is_kept(secret: str, keep: str) -> None:
    privacy = Privacy(keep=keep, drop_fields=("/user", "/map/*"))
    comparison = new(replace(SHADOW, outputs=(Compare("", "json"),), privacy=privacy))
    stable: dict[str, Any] = {"label": "x", "user": {secret: secret}, "map": [secret, 1]}
    compare(comparison, 1, says(stable), says({"label": "y"}), None)
    compare(comparison, 1, says(stable), says({**stable, "user": {}}), says(stable), at=1)
    assert secret.encode() not in comparison.kept()
    assert secret.encode() not in json.encode(reported(comparison))


# --- over restarts


def test_what_is_kept_goes_on() -> None:
    comparison = new()
    compare(comparison, 30, CAT, DOG, CAT)
    compare(comparison, 30, CAT, CAT, None, at=30)
    comparison.labelled("r-1", True, False)
    comparison.not_copied("busy")
    restored = Comparison.restored(comparison.kept(), SHADOW, "digits", 7)
    assert reported(restored) == reported(comparison)
    compare(restored, 1, CAT, COW, CAT, at=60)
    assert reported(restored).compared == 61


@pytest.mark.parametrize(
    "shadow",
    [
        replace(SHADOW, version="3"),
        replace(SHADOW, sample=0.5),
        replace(SHADOW, outputs=(Compare("", "json"),)),
        replace(SHADOW, verdict=ShadowVerdict(worse_above_noise=0.05)),
    ],
)
def test_what_is_about_something_else_begins_anew(shadow: Shadow) -> None:
    comparison = new()
    compare(comparison, 30, CAT, DOG, CAT)
    assert reported(Comparison.restored(comparison.kept(), shadow, "digits", 8)).compared == 0
    assert reported(Comparison.restored(comparison.kept(), SHADOW, "other", 8)).compared == 0


def test_other_limits_change_nothing_and_another_privacy_lets_differences_go() -> None:
    comparison = new()
    compare(comparison, 30, CAT, DOG, CAT)
    slower = Comparison.restored(comparison.kept(), replace(SHADOW, deadline_s=1.0, repeat_stable=0.5), "digits", 8)
    assert reported(slower) == replace(reported(comparison), generation=8)
    stricter = Comparison.restored(comparison.kept(), replace(SHADOW, privacy=Privacy(keep="nothing")), "digits", 8)
    assert (reported(stricter).compared, reported(stricter).worst) == (30, ())


@given(st.binary(max_size=100))
def test_what_is_not_ours_begins_anew(kept: bytes) -> None:
    assert reported(Comparison.restored(kept, SHADOW, "digits", 7)).compared == 0


def test_whatever_it_is_told_it_stays_small() -> None:
    comparison = new()
    for number in range(3000):
        request = answered(f"r-{number}", f"tenant-{number}")
        comparison.compared(request, number * 300, CAT, says({"label": f"dog {number}"}), 1000.0 + number)
        comparison.not_copied(f"why {number}")
    assert len(comparison.kept()) < 64 * 1024
