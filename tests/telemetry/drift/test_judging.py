from __future__ import annotations

import random

import pytest

from policies.snapshot.watching import Drift, Watched
from telemetry.drift.fields import INPUT, OUTPUT, Field, added_up
from telemetry.drift.judging import is_constant, judge, worst
from telemetry.drift.reports import VersionReport, in_brief
from telemetry.drift.windows import Windows, add, place_of
from telemetry.stats.drift import Says
from telemetry.stats.sketch import sketched

HOUR = 3600.0
WATCHED = Drift(0.5, inputs=(Watched("/age"),), outputs=(Watched("/label"),), reference_s=2 * HOUR)


def people(draw: random.Random, rows: int, age: float, missing: int = 0) -> Field:
    ages = sketched(draw.gauss(age, 10) for _ in range(rows - missing))
    kinds = {"number": rows - missing, **({"missing": missing} if missing else {})}
    return Field(rows, measures={"value": ages}, kinds=kinds)


def labels(rows: int, share: float) -> Field:
    first = round(rows * share)
    return Field(rows, classes={"0": first, "1": rows - first}, kinds={"number": rows})


def history(*ages: float, share: tuple[float, ...] = (), rows: int = 700) -> Windows:
    draw = random.Random(3)
    windows: Windows = {}
    for hour, age in enumerate(ages):
        add(windows, hour * HOUR, HOUR, place_of(INPUT, "/age"), people(draw, rows, age))
        add(windows, hour * HOUR, HOUR, place_of(OUTPUT, "/label"), labels(rows, share[hour] if share else 0.5))
    return windows


def judged(windows: Windows, drift: Drift = WATCHED, reference: Windows | None = None) -> VersionReport:
    return judge("ranker", "1", drift, windows, windows if reference is None else reference, 1000 * HOUR)


def said(report: VersionReport) -> dict[str, str]:
    return {f"{part.side} {part.path} {one.measure}": one.says for part in report.parts for one in part.measures}


def test_the_same_people_are_steady() -> None:
    report = judged(history(*[40.0] * 8))
    assert report.says == Says.STEADY
    assert said(report) == {"input /age value": "steady", "output /label class": "steady"}
    assert report.reference_rows == 1400


def test_other_people_are_moved_after_a_window_and_drift_after_three() -> None:
    assert judged(history(40, 40, 40, 60)).says == Says.MOVED
    assert judged(history(40, 40, 40, 60, 60)).says == Says.MOVED
    report = judged(history(40, 40, 40, 60, 60, 60))
    assert report.says == Says.DRIFTS
    assert said(report) == {"input /age value": "drifts", "output /label class": "steady"}
    (ages, _) = report.parts
    assert [point.from_s for point in ages.measures[0].history] == [2 * HOUR, 3 * HOUR, 4 * HOUR, 5 * HOUR]
    assert ages.measures[0].reference.p50 is not None
    assert ages.measures[0].now.p50 is not None
    assert ages.measures[0].now.p50 > ages.measures[0].reference.p50 + 15


def test_a_drift_that_is_over_is_steady() -> None:
    assert judged(history(40, 40, 60, 60, 60, 40)).says == Says.STEADY


def test_another_mix_of_classes_drifts() -> None:
    report = judged(history(*[40.0] * 6, share=(0.5, 0.5, 0.5, 0.9, 0.9, 0.9)))
    assert said(report)["output /label class"] == "drifts"
    (_, label) = report.parts
    assert label.measures[0].now.names[0] == ("0", 0.9)


@pytest.mark.parametrize("rows", [600, 900])
def test_an_output_of_many_classes_is_judged_by_as_many_windows_as_it_takes(rows: int) -> None:
    def mix(first: int, count: int) -> Field:
        classes = {f"class {first + one}": rows // count for one in range(count)}
        return Field(sum(classes.values()), classes=classes, kinds={"text": sum(classes.values())})

    windows: Windows = {}
    for hour in range(14):
        add(windows, hour * HOUR, HOUR, place_of(OUTPUT, "/label"), mix(0, 25) if hour < 6 else mix(20, 5))
    assert said(judged(windows))["output /label class"] == "drifts"


def test_values_that_go_missing_drift_though_the_others_are_alike() -> None:
    windows = history(40, 40)
    draw = random.Random(5)
    for hour in range(2, 6):
        field = people(draw, 700, 40.0, missing=300)
        add(windows, hour * HOUR, HOUR, place_of(INPUT, "/age"), field)
    assert said(judged(windows))["input /age value"] == "drifts"
    assert said(judged(windows))["input /age kind"] == "drifts"


def test_the_reference_may_be_another_version() -> None:
    other = Drift(0.5, WATCHED.inputs, WATCHED.outputs, reference="0", reference_s=2 * HOUR)
    before = history(40, 40, 40)
    assert judged(history(60, 60, 60), other, before).says == Says.DRIFTS
    assert judged(history(40, 40, 40), other, before).says == Says.STEADY
    assert judged(history(60, 60, 60), other, {}).says == Says.LEARNING


def test_a_version_without_rows_learns() -> None:
    report = judged({})
    assert (report.says, report.reference_rows) == (Says.LEARNING, 0)
    assert all(part.measures == () for part in report.parts)


def test_few_rows_say_nothing() -> None:
    windows = history(40, 40)
    add(windows, 3 * HOUR, HOUR, place_of(INPUT, "/age"), people(random.Random(1), 40, 90.0))
    report = judged(windows)
    assert said(report)["input /age value"] == "too_few"
    assert report.parts[0].rows == 40


def test_many_rows_that_are_all_the_same_are_constant() -> None:
    same = Field(200, measures={"value": sketched([0.5] * 200)}, kinds={"number": 200})
    assert is_constant(same)
    assert not is_constant(Field(50, measures={"value": sketched([0.5] * 50)}))
    assert not is_constant(added_up((same, Field(1, measures={"value": sketched([0.9])}))))
    assert is_constant(labels(200, 1.0)) is False  # two classes are named, one of them of no rows
    assert is_constant(Field(200, classes={"3": 200}))
    assert not is_constant(Field(200))


def test_the_worst_is_told_first() -> None:
    assert worst(["steady", "moved", "drifts"]) == "drifts"
    assert worst(["steady", "too_few"]) == "too_few"
    assert worst([]) == "learning"


def test_the_bins_are_what_the_index_compares() -> None:
    report = judged(history(40, 40, 40, 60, share=(0.5, 0.5, 0.5, 0.9)))
    ages, classes = (part.measures[0] for part in report.parts)
    assert sum(one.reference for one in ages.bins) == 1400
    assert sum(one.now for one in ages.bins) == 700
    assert ages.bins[-1].high is None
    assert [one.high for one in ages.bins[:-1]] == [one.low for one in ages.bins[1:]]
    assert [(one.name, one.reference, one.now) for one in classes.bins] == [("0", 700, 630), ("1", 700, 70)]
    shares = zip([one.reference / 1400 for one in classes.bins], [one.now / 700 for one in classes.bins], strict=True)
    assert sum(abs(first - second) for first, second in shares) / 2 == pytest.approx(classes.tvd, abs=1e-3)


def test_rows_in_which_nothing_was_found_are_a_bin() -> None:
    windows = history(*[40.0] * 3)
    add(windows, 3 * HOUR, HOUR, place_of(INPUT, "/age"), people(random.Random(4), 700, 40.0, missing=90))
    (ages, _) = judged(windows).parts
    last = ages.measures[0].bins[-1]
    assert (last.name, last.now) == ("nothing found", 90)


def test_in_brief_the_verdicts_stay() -> None:
    whole = judged(history(40, 40, 40, 60, 60, 60))
    brief = in_brief(whole)
    assert (brief.says, said(brief)) == (whole.says, said(whole))
    assert [one.psi for part in brief.parts for one in part.measures] == [
        one.psi for part in whole.parts for one in part.measures
    ]
    assert not any(one.history or one.bins or one.now.p50 for part in brief.parts for one in part.measures)
