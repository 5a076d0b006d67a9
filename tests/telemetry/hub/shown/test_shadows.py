"""How shadows are drawn: in trouble first, and what differs beside the noise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.hub.shown.release_answers import Shadow, Shadows
from telemetry.hub.shown.shadows import ShadowView, shadow_of, shadow_row, shadow_rows, shadow_view
from tests.fakes.hub import Json
from tests.fakes.releases import difference, new_shadow, shadow, told


def read(made: Json) -> Shadow:
    return msgspec.convert(made, Shadow)


def view(**changed: Any) -> ShadowView:
    return shadow_view(read(shadow(**changed)))


def test_those_in_trouble_come_first_and_one_model_can_be_asked_for() -> None:
    says = ["same", "not enough data", "worse", "differs"]
    every = msgspec.convert(
        told("shadows", *(shadow(name=f"s{at}", says=each) for at, each in enumerate(says)), shadow(model="text")),
        Shadows,
    )
    names = [(row.shadow.model, row.shadow.says) for row in shadow_rows(every)]
    assert names == [
        ("digits", "worse"),
        ("digits", "differs"),
        ("text", "differs"),
        ("digits", "not enough data"),
        ("digits", "same"),
    ]
    assert [row.shadow.model for row in shadow_rows(every, "text")] == ["text"]
    assert shadow_rows(every, "other") == ()
    assert shadow_of(every, "digits/s2") == read(shadow(name="s2", says="worse"))
    assert shadow_of(every, "text/s2") is None


def test_a_row_has_what_differs_beside_the_noise_floor() -> None:
    row = shadow_row(read(shadow(repeats=50, repeats_differ=25)))
    assert (row.differs, row.noise, row.beside) == ("3.1\u202f%", "1.5\u202f%", "1.83×")
    assert float(row.ticks[0].at.rstrip("%")) < float(row.bar.width.rstrip("%")) <= 80.0
    assert row.because.startswith("63 of 2,040")
    assert (row.not_copied, row.main_reason) == ("12\u202f094", "no consent")


def test_a_shadow_that_has_compared_nothing_has_no_figures() -> None:
    row = shadow_row(read(new_shadow()))
    assert (row.compared, row.differs, row.noise, row.beside, row.not_copied) == ("0", "–", "–", "–", "0")
    assert (row.ticks, row.main_reason, row.bar.width) == ((), "", "0.000%")
    seen = shadow_view(read(new_shadow()))
    assert (seen.outputs, seen.slices, seen.labels, seen.latency, seen.worst, seen.reasons) == (
        (),
        (),
        None,
        (),
        (),
        (),
    )
    assert (seen.since, seen.kept) == ("", "")
    assert seen.noise == "Stable was not asked again yet"


@pytest.mark.parametrize(
    ("differ", "repeats", "repeats_differ", "noise"),
    [(0, 0, 0, "0\u202f%"), (204, 0, 0, "–"), (204, 50, 0, "0\u202f%"), (204, 50, 50, "10\u202f%")],
)
def test_noise_is_a_part_of_what_differs(differ: int, repeats: int, repeats_differ: int, noise: str) -> None:
    made = shadow(differ=differ, repeats=repeats, repeats_differ=repeats_differ)
    assert shadow_row(read(made)).noise == noise


def test_outputs_tell_their_metric_and_what_could_not_be_compared() -> None:
    label, probabilities = view().outputs
    assert label.part.names == ("/label", "label", "equal")
    assert (label.mean, label.largest, label.unlike) == ("–", "–", "0")
    assert (probabilities.part.differs, probabilities.mean, probabilities.largest) == ("3.0\u202f%", "0.00212", "0.81")
    whole = {"path": "", "kind": "json", "metric": "equal", "compared": 0, "differ": 0}
    (each,) = view(outputs=[whole]).outputs
    assert (each.part.names[0], each.part.differs) == ("the whole answer", "–")


def test_slices_of_one_kind_stand_together_the_largest_first() -> None:
    assert [part.names for part in view().slices] == [
        ("size", "up to 1 KiB"),
        ("tenant", "search"),
        ("tenant", "vision-team"),
    ]


def test_only_what_speaks_against_the_shadow_is_marked() -> None:
    answers, labels = view().answers, view().labels
    assert labels is not None
    for square, numbers in ((answers, ("2\u202f031", "7", "1", "1")), (labels, ("310", "9", "2", "4"))):
        cells = (square.both, square.only_stable, square.only_shadow, square.neither)
        assert tuple(cell.number for cell in cells) == numbers
        assert [cell.is_bad for cell in cells] == [False, True, False, False]


def test_latency_is_told_for_both_at_two_quantiles() -> None:
    assert [(row.quantile, row.ratio) for row in view().latency] == [("p50", "1.42×"), ("p99", "1.83×")]


@pytest.mark.parametrize(("distance", "text"), [(81.0, "81.0×"), (1e308, "∞"), (None, "∞")])
def test_a_distance_without_measure_says_so(distance: float | None, text: str) -> None:
    (worst,) = view(worst=[difference(1, distance=distance)]).worst
    assert worst.distance == text


def test_why_requests_were_not_copied_comes_by_how_many() -> None:
    reasons = view(not_copied={"a": 0, "queue_full": 1, "of_a_new_kind": 3}).reasons
    assert [(row.why, row.number, row.bar.width) for row in reasons] == [
        ("of a new kind", "3", "75.000%"),
        ("too many copies waited already", "1", "25.000%"),
    ]


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        ("digests", "digests of the answers, for 14\u202fd 0\u202fh"),
        ("bodies", "the answers themselves, without what policy drops, for 14\u202fd 0\u202fh"),
        ("nothing", "nothing of the answers"),
        ("", ""),
    ],
)
def test_what_is_kept_is_told(keep: str, words: str) -> None:
    assert view(keep=keep).kept == words


def test_commands_name_the_shadow_and_its_version() -> None:
    assert [command.typed for command in view().commands] == [
        "penstock shadow report digits",
        "penstock shadow replay digits --version 2 --shadow digits-2-dark",
        "penstock shadow forget digits --shadow digits-2-dark",
    ]
