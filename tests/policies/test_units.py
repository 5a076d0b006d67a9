"""Units are read exactly, written as people write them, and refused with the fix."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import units


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("250ms", "duration", 0.25),
        ("0.1s", "duration", 0.1),
        ("200h", "duration", 720_000.0),
        ("28d", "duration", 2_419_200.0),
        ("5%", "percent", 0.05),
        ("99.5%", "percent", 0.995),
        ("300/s", "rate", 300.0),
        ("90/m", "rate", 1.5),
        ("16MiB", "size", 16 * 1024 * 1024),
        ("512B", "size", 512),
        ("1.2x", "factor", 1.2),
        ("20h/day", "time share", 20 / 24),
        ("1970-01-02T00:00:00Z", "moment", 86400.0),
        ("1970-01-01T01:00:00+01:00", "moment", 0.0),
    ],
)
def test_a_quantity_is_read_exactly(text: str, unit: str, number: float) -> None:
    assert units.read(text, unit) == number


@pytest.mark.parametrize(
    ("text", "unit", "problem", "fix"),
    [
        ("2", "duration", "2 what?", "Write 2ms, 2s, 2m, 2h or 2d."),
        ("5", "rate", "5 what?", "Write 5/s."),
        ("0", "rate", "0 what?", "Write one such as 300/s."),
        ("99", "duration", "99 what?", "Write 99ms, 99s, 99m, 99h or 99d."),
        ("250", "duration", "250 what?", "Write 250ms or 250s."),
        ("1500", "duration", "1500 what?", "Write 1500ms or 1500s."),
        ("9999999999", "duration", "9999999999 what?", "Write one such as 250ms."),
        ("16", "size", "16 what?", "Write 16MiB or 16B."),
        ("16384", "size", "16384 what?", "Write 16KiB."),
        ("17179869184", "size", "17179869184 what?", "Write 16GiB."),
        ("5000", "size", "5000 what?", "Write 5000B."),
        ("16.5", "size", "16.5 what?", "Write one such as 16MiB."),
        ("0", "size", "0 what?", "Write one such as 16MiB."),
        ("2027", "moment", "2027 what?", "Write one such as 2027-03-01T00:00:00Z."),
        ("0.5", "percent", "0.5 what?", "Write 50% or 0.5%."),
        ("99.5", "percent", "99.5 what?", "Write 99.5%."),
        ("0.999", "percent", "0.999 what?", "Write 99.9% or 0.999%."),
        ("16MB", "size", 'expected a size, found "16MB"', "Write 16MiB."),
        ("250 ms", "duration", 'expected a length of time, found "250 ms"', "Write 250ms."),
        ("5min", "duration", 'expected a length of time, found "5min"', "Write 5m."),
        ("1_000/s", "rate", 'expected a rate, found "1_000/s"', "Write 1000/s."),
        ("soon", "duration", 'expected a length of time, found "soon"', "Write one such as 250ms."),
        ("2s\n", "duration", 'expected a length of time, found "2s\\n"', "Write one such as 250ms."),
    ],
)
def test_what_is_no_quantity_is_told_with_the_fix(text: str, unit: str, problem: str, fix: str) -> None:
    with pytest.raises(units.UnitError) as refused:
        units.read(text, unit)
    assert (refused.value.problem, refused.value.fix) == (problem, fix)


def test_a_number_too_long_to_be_meant_is_no_quantity() -> None:
    with pytest.raises(units.UnitError):
        units.duration_s("9" * 400 + "h")


@settings(deadline=None)
@given(st.integers(0, 10**16), st.sampled_from(sorted(units.UNITS)))
def test_what_is_advised_for_a_number_without_its_unit_is_a_quantity(number: int, unit: str) -> None:
    with pytest.raises(units.UnitError) as refused:
        units.read(str(number), unit)
    for written in (
        refused.value.fix.removeprefix("Write ")
        .removeprefix("one such as ")
        .rstrip(".")
        .replace(" or ", ", ")
        .split(", ")
    ):
        assert units.read(written, unit) >= 0


@settings(deadline=None)
@given(st.integers(0, 10**9 - 1), st.sampled_from(["ms", "s"]))
def test_a_written_length_of_time_reads_as_the_same_length(number: int, unit: str) -> None:
    length_s = units.duration_s(f"{number}{unit}")
    assert units.duration_s(units.duration_text(length_s)) == length_s


@given(st.integers(1, 10**11))
def test_a_written_share_reads_as_the_same_share(billionths: int) -> None:
    share = billionths / 10**11
    assert units.fraction(units.percent_text(share)) == share


@settings(deadline=None)
@given(st.integers(0, 2**50), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_a_written_size_reads_as_the_same_size(number: int, unit: str) -> None:
    size = units.size_bytes(f"{number % 10**9}{unit}")
    text = units.size_text(size)
    assert (
        int(text.rstrip("BKMGTi"))
        * {"T": 1024**4, "G": 1024**3, "M": 1024**2, "K": 1024, "B": 1}[text.lstrip("0123456789")[0]]
        == size
    )


@settings(deadline=None)
@given(st.integers(1, 10**8), st.sampled_from(["s", "m", "h", "d"]))
def test_a_written_rate_reads_as_nearly_the_same_rate(number: int, period: str) -> None:
    rate_per_s = units.rate_per_s(f"{number}/{period}")
    assert units.rate_per_s(units.rate_text(rate_per_s)) == pytest.approx(rate_per_s, rel=1e-11)


@settings(deadline=None)
@given(st.text(max_size=20), st.sampled_from(sorted(units.UNITS)))
def test_no_text_breaks_the_reader_or_reads_as_an_infinite_quantity(text: str, unit: str) -> None:
    number = 0.0
    with contextlib.suppress(units.UnitError):
        number = units.read(text, unit)
    assert abs(number) < float("inf")
