from __future__ import annotations

import msgspec
import pytest

from policies.snapshot.watching import Drift, Watched
from telemetry.conventions import TELEMETRY_DROPPED
from telemetry.drift.fields import INPUT, OUTPUT, Field
from telemetry.drift.judging import judge
from telemetry.drift.windows import Kept, place_of
from telemetry.records import FRAME_VERSION, PodSummary
from telemetry.sidecar.drift_book import SHOWN_CLASSES, DriftBook
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.frames import BadPacket, read_frame
from telemetry.sidecar.pipeline import Pipeline
from telemetry.sidecar.redaction import Redactor
from telemetry.stats.sketch import Sketch, sketched

DRIFT = Drift(1.0, inputs=(Watched("/age"),), outputs=(Watched("/label"),))
NOW_S = 1_800_000_000.0
HOUR = 3600
AGES = Field(3, unread=2, measures={"value": sketched([1.0, 2.0, 3.0])}, kinds={"number": 3})
LABELS = Field(3, unread=2, classes={"0": 2, "1": 1}, kinds={"number": 2, "missing": 1}, flags={"nan": 1})


def summary(field: Field, side: str = INPUT, path: str = "/age") -> PodSummary:
    return PodSummary(5.0, side, path, field)


def book(drift: Drift | None = DRIFT) -> tuple[DriftBook, Drops]:
    drops = Drops()
    made = DriftBook("ranker", "1", Kept(0.0, {}), drops)
    made.heed(drift)
    return made, drops


def shown(made: DriftBook) -> dict[tuple[str, ...], float]:
    return {(one.metric.name, *one.labels): float(one.value) for one in made.samples()}  # type: ignore[arg-type]  # no histogram


def lost(drops: Drops) -> dict[tuple[str, ...], float]:
    return {one.labels: one.value for one in drops.samples() if one.metric is TELEMETRY_DROPPED}  # type: ignore[misc]


def test_summaries_are_counted_into_windows_and_metrics() -> None:
    made, drops = book()
    for _ in range(2):
        made.take(summary(AGES), NOW_S, NOW_S)
        made.take(summary(LABELS, OUTPUT, "/label"), NOW_S, NOW_S)
    assert made.is_changed
    (window,) = made.windows.values()
    assert window[place_of(INPUT, "/age")].measures["value"].count == 6
    assert shown(made) == {
        ("penstock_drift_rows_total", "ranker", "1", "input", "/age"): 6,
        ("penstock_drift_rows_total", "ranker", "1", "output", "/label"): 6,
        ("penstock_output_flagged_rows_total", "ranker", "1", "/label", "nan"): 2,
        ("penstock_output_flagged_rows_total", "ranker", "1", "/label", "missing"): 2,
        ("penstock_output_class_rows_total", "ranker", "1", "/label", "0"): 4,
        ("penstock_output_class_rows_total", "ranker", "1", "/label", "1"): 2,
    }
    # Both parts tell of the same two rows.
    assert lost(drops) == {("rows", "unread"): 4}


def test_what_nobody_watches_is_dropped_and_counted() -> None:
    made, drops = book()
    made.take(summary(AGES, INPUT, "/password"), NOW_S, NOW_S)
    unwatched, more = book(None)
    unwatched.take(summary(AGES), NOW_S, NOW_S)
    assert (made.windows, unwatched.windows) == ({}, {})
    assert lost(drops) == lost(more) == {("summaries", "unwatched"): 1}


@pytest.mark.parametrize("at_s", [0.0, NOW_S + 90 * 86400])
def test_a_clock_that_is_far_off_makes_no_window_of_its_own(at_s: float) -> None:
    made, _ = book()
    made.take(summary(AGES), at_s, NOW_S)
    assert set(made.windows) <= {NOW_S // HOUR * HOUR, NOW_S // HOUR * HOUR - HOUR}


def test_classes_beyond_the_first_are_one_in_metrics() -> None:
    made, _ = book()
    many = {str(number): 1 for number in range(SHOWN_CLASSES + 30)}
    made.take(summary(Field(50, classes=many), OUTPUT, "/label"), NOW_S, NOW_S)
    series = [labels for labels in shown(made) if labels[0] == "penstock_output_class_rows_total"]
    assert len(series) == SHOWN_CLASSES + 1
    assert shown(made)["penstock_output_class_rows_total", "ranker", "1", "/label", "other"] == 30


def test_what_was_judged_is_shown() -> None:
    made, _ = book()
    places = {place_of(INPUT, "/age"): Field(2000, measures={"value": sketched([1.0] * 2000)}, kinds={"number": 2000})}
    moved = {place_of(INPUT, "/age"): Field(2000, measures={"value": sketched([9.0] * 2000)}, kinds={"number": 2000})}
    windows = {0: places, **{hour * HOUR: moved for hour in (24, 25, 26)}}
    made.report = judge("ranker", "1", DRIFT, windows, windows, 1000.0 * HOUR)
    told = shown(made)
    assert told["penstock_drifting", "ranker", "1"] == 1.0
    assert told["penstock_drift_psi", "ranker", "1", "input", "/age", "value"] > 1.0
    assert told["penstock_drift_limit", "ranker", "1", "input", "/age", "value"] == 0.2
    assert told["penstock_output_constant", "ranker", "1", "/label"] == 0.0
    made.heed(None)
    assert ("penstock_drifting", "ranker", "1") not in shown(made)


def packet(record: PodSummary) -> bytes:
    source = ("penstock-pod", "ranker/1", 7, "ranker", "1", "0")
    return msgspec.msgpack.encode((FRAME_VERSION, source, int(NOW_S * 1e9), {}, [record]))


def test_a_summary_comes_by_the_way_of_records_and_makes_no_span() -> None:
    made, drops = book()
    pipeline = Pipeline(Redactor(()), None, drops, None, None, made)
    pipeline.take_packet(packet(summary(AGES)), 10.0, NOW_S + 5.0)
    (window,) = made.windows.values()
    assert window == {place_of(INPUT, "/age"): AGES}
    nobody = Pipeline(Redactor(()), None, drops, None)
    nobody.take_packet(packet(summary(AGES)), 10.0, NOW_S + 5.0)
    assert lost(drops)["summaries", "unwatched"] == 1


@pytest.mark.parametrize(
    "bad",
    [
        summary(AGES, "both"),
        summary(AGES, INPUT, "/" + "x" * 5000),
        summary(Field(-1)),
        summary(Field(measures={"value": Sketch(scale=99)})),
        PodSummary(-1.0, INPUT, "/age", AGES),
    ],
)
def test_a_summary_out_of_bounds_is_no_summary(bad: PodSummary) -> None:
    with pytest.raises(BadPacket):
        read_frame(packet(bad))


def test_windows_of_another_length_are_no_past_and_what_goes_is_counted() -> None:
    made, drops = book()
    made.take(summary(AGES), NOW_S, NOW_S)
    made.heed(DRIFT)
    assert len(made.windows) == 1
    made.heed(msgspec.structs.replace(DRIFT, window_s=300.0))
    assert (made.windows, made.is_changed, made.window_s) == ({}, True, 300.0)
    assert drops.of("windows") == {"another_length": 1}
