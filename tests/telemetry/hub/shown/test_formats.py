"""How quantities read: three digits, a unit, and nothing that cannot be told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.shown import formats

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def spaced(text: str) -> str:
    """Return the text with plain spaces, as one writes it down."""
    return text.replace("\u202f", " ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (math.inf, "–"),
        (math.nan, "–"),
        (0.0, "0 ns"),
        (42e-9, "42 ns"),
        (0.0003123, "312 µs"),
        (0.0009996, "1.00 ms"),
        (0.001239, "1.24 ms"),
        (0.0999, "99.9 ms"),
        (2.314, "2.31 s"),
        (59.99, "60.0 s"),
        (65.0, "1 m 05 s"),
        (11_400.0, "3 h 10 m"),
        (187_200.0, "2 d 4 h"),
    ],
)
def test_a_length_of_time_has_the_unit_that_it_needs(seconds: float | None, text: str) -> None:
    assert spaced(formats.duration(seconds)) == text


def test_nanoseconds_read_as_the_same_length_in_seconds() -> None:
    assert formats.duration_ns(1_239_000) == formats.duration(0.001239)


@pytest.mark.parametrize(
    ("seconds", "text"), [(30, "30s"), (300, "5m"), (5400, "90m"), (21600, "6h"), (259200, "3d"), (0.5, "0.5s")]
)
def test_a_window_reads_as_people_write_it(seconds: float, text: str) -> None:
    assert formats.window(seconds) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (None, "–"),
        (math.nan, "–"),
        (0.0, "0 %"),
        (0.0002, "0.02 %"),
        (0.041, "4.1 %"),
        (0.62, "62 %"),
        (-1.3, "−130 %"),
    ],
)
def test_a_share_has_as_many_digits_as_it_needs(ratio: float | None, text: str) -> None:
    assert spaced(formats.share(ratio)) == text


def test_a_target_reads_as_it_was_written() -> None:
    assert [spaced(formats.target(ratio)) for ratio in (0.999, 0.9995, 0.99, 0.5)] == [
        "99.9 %",
        "99.95 %",
        "99 %",
        "50 %",
    ]


def test_rates_and_counts_have_their_units_and_their_groups() -> None:
    assert (formats.rate(None), formats.rate(0.0), formats.rate(41.25)) == ("–", "0/s", "41.2/s")
    assert spaced(formats.rate(12_345.6)) == "12 346/s"
    assert (formats.times(0.314), formats.times(14.4), formats.times(191.0)) == ("0.31×", "14.4×", "191×")
    assert (formats.count(None), formats.count(7), spaced(formats.count(1_234_567))) == ("–", "7", "1 234 567")


@pytest.mark.parametrize(
    ("e_value", "text"),
    [
        (0.0, "0"),
        (0.31, "0.31"),
        (0.01, "0.01"),
        (0.0034, "3.4 × 10⁻³"),
        (1e-300, "10⁻³⁰⁰"),
        (99.54, "99.5"),
        (99_999.0, "99 999"),
        (3_240_000.0, "3.2 × 10⁶"),
        (9.99e8, "10⁹"),
        (math.inf, "∞"),
        (None, "∞"),
    ],
)
def test_evidence_reads_by_its_size(e_value: float | None, text: str) -> None:
    assert spaced(formats.evidence(e_value)) == text


def test_what_is_so_many_times_as_much_says_so() -> None:
    assert (formats.relative(0.018, 0.010), formats.relative(0.018, 0.0)) == ("1.80×", "–")


def test_a_reason_does_not_repeat_what_is_said() -> None:
    assert formats.sentence("harm", "Harm: version 3 burns. More.") == "Version 3 burns. More."
    assert formats.sentence("safe", "nothing is bad") == "nothing is bad"
    assert formats.first_sentence("It lies at 1.5 times. It goes on.") == "It lies at 1.5 times."
    assert formats.first_sentence("It lies at 1.5 times") == "It lies at 1.5 times"


def test_moments_are_utc() -> None:
    assert formats.moment(1_800_000_000.9) == "08:00:00"
    assert formats.date(1_800_000_000.0) == "2027-01-15 08:00:00 UTC"
    assert formats.exact_ns(1_800_000_000_000_004_999) == "08:00:00.000004"


@given(FINITE)
def test_every_moment_can_be_told(seconds: float) -> None:
    assert formats.date(seconds).endswith(" UTC")


def test_attributes_read_as_they_are() -> None:
    assert [formats.value(held) for held in (True, False, 12, 0.1, "text", ["a", 1], ())] == [
        "true",
        "false",
        "12",
        "0.1",
        "text",
        "a, 1",
        "",
    ]


@given(FINITE)
def test_a_place_on_an_axis_is_never_off_it(ratio: float) -> None:
    assert 0.0 <= float(formats.percent(ratio).removesuffix("%")) <= 100.0


def test_a_segment_of_a_path_stays_one() -> None:
    assert formats.path_segment("a/b?c#d&e") == "a%2Fb%3Fc%23d%26e"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (24.7 * 2**20, "24.7 MiB"),
        (1.31 * 2**30, "1.31 GiB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(size_bytes: float | None, text: str) -> None:
    assert formats.size(size_bytes) == text.replace(" ", "\u202f")


@pytest.mark.parametrize(
    ("measured", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.0123, "0.0123"),
        (4.9, "4.9"),
        (-3.5, "−3.5"),
        (1254.4, "1\u202f254"),
        (3.1e7, "3.1e+07"),
        (1e-5, "1e−05"),
    ],
)
def test_numbers_have_three_digits_or_so(measured: float | None, text: str) -> None:
    assert formats.number(measured) == text
