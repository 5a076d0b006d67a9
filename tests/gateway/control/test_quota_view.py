"""What is told of quotas: amounts as people write them, and when a quota is exhausted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.control.ledger.protocol import Grant
from gateway.control.quota_metrics import SHOWN_QUOTAS, quota_families, shown
from gateway.control.quota_view import Standing, amount_of, amount_text, exhausted_at_s, grants_report, quotas_report
from gateway.decide.tables import account_of
from policies.snapshot.tenant import Quota
from policies.units import UnitError

NOW = 1_782_907_200.0  # noon, UTC
MIDNIGHT = NOW + 43_200.0
DAY = Quota("day", "requests", 1000, "calendar-day")
ROLLING = Quota("roll", "requests", 1000, "rolling-24h")


def standing(quota: Quota = DAY, used: int | None = 100, rate_per_s: float = 1.0, limit: int = 1000) -> Standing:
    return Standing("ads", quota, limit, used, 5, rate_per_s, MIDNIGHT)


def test_a_quota_is_exhausted_when_what_is_left_is_used_at_its_rate() -> None:
    assert exhausted_at_s(standing(), NOW) == NOW + 900.0


def test_a_calendar_quota_lasts_if_its_window_ends_before() -> None:
    assert exhausted_at_s(standing(rate_per_s=900 / 43_200.0), NOW) is None
    assert exhausted_at_s(standing(rate_per_s=901 / 43_200.0), NOW) is not None


def test_a_rolling_quota_lasts_if_as_much_leaves_as_comes() -> None:
    assert exhausted_at_s(standing(ROLLING, used=864, rate_per_s=0.01), NOW) is None
    assert exhausted_at_s(standing(ROLLING, used=864, rate_per_s=0.02), NOW) == pytest.approx(NOW + 13_600.0)


def test_nothing_is_forecast_without_use_or_a_ledger_and_what_is_spent_is_spent_now() -> None:
    assert exhausted_at_s(standing(rate_per_s=0.0), NOW) is None
    assert exhausted_at_s(standing(used=None), NOW) is None
    assert exhausted_at_s(standing(used=1000), NOW) == NOW


def test_the_report_tells_each_quota_in_order_with_the_steps_that_are_reached() -> None:
    report = quotas_report([standing(ROLLING, used=None), standing(used=1000, limit=1500)], NOW, "the disk is full")
    first, second = report.quotas
    assert (first.name, first.granted_on_top, first.ratio, first.resets_at) == (
        "day",
        500,
        0.666667,
        "2026-07-02T00:00:00Z",
    )
    assert [step.is_reached for step in first.ladder] == [False]
    assert (second.name, second.used, second.ratio, second.resets_at) == ("roll", None, None, None)
    assert report.trouble == "the disk is full"


def test_grants_are_told_in_the_unit_of_what_their_quota_counts() -> None:
    account = account_of("ads", replace(DAY, name="gpu", meter="device_time"))
    grant = Grant("g", account, 72_000_000_000, NOW + 60, "key:ops", "launch", NOW)
    known = grants_report([grant], NOW).grants[0]
    assert (known.tenant, known.quota, known.amount_text, known.is_live) == ("ads", "gpu", "20h", True)
    assert not grants_report([grant], NOW + 60).grants[0].is_live


@pytest.mark.parametrize(
    ("text", "meter", "amount"),
    [
        ("20h", "device_time", 72_000_000_000),
        ("1.5s", "device_time", 1_500_000),
        ("2GiB", "bytes", 2**31),
        ("4096", "bytes", 4096),
        ("1000000", "requests", 1_000_000),
        ("7", "tokens", 7),
    ],
)
def test_amounts_are_read_in_the_meters_unit(text: str, meter: str, amount: int) -> None:
    assert amount_of(text, meter) == amount


@pytest.mark.parametrize(
    ("text", "meter"),
    [
        ("20", "device_time"),
        ("20h", "requests"),
        ("-5", "requests"),
        ("1e6", "tokens"),
        ("\u0663", "requests"),
        ("9" * 16, "requests"),
        ("2h", "bytes"),
    ],
)
def test_amounts_in_another_unit_are_refused(text: str, meter: str) -> None:
    with pytest.raises(UnitError):
        amount_of(text, meter)


@given(st.integers(1, 10**13))
def test_device_time_that_is_told_is_about_what_it_is(amount_us: int) -> None:
    told = amount_text(amount_us, "device_time")
    if told.endswith(("h", "m", "ms")) or amount_us >= 1_000_000:
        assert amount_of(told, "device_time") == pytest.approx(amount_us, rel=0.01, abs=10)


def test_prometheus_reads_the_fullest_quotas_that_are_known() -> None:
    many = [Standing("ads", replace(DAY, name=f"q{n}"), 10_000, n, 0, 0.0, MIDNIGHT) for n in range(SHOWN_QUOTAS + 10)]
    assert min(one.used or 0 for one in shown([*many, standing(used=None)])) == 10
    assert len(shown(many)) == SHOWN_QUOTAS


def test_device_time_is_told_to_prometheus_in_seconds() -> None:
    gpu = Standing("ads", replace(DAY, meter="device_time"), 4_000_000, 1_000_000, 0, 0.0, MIDNIGHT)
    values = {family.name: [sample.value for sample in family.samples] for family in quota_families([gpu])}
    assert values == {
        "penstock_quota_used_ratio": [0.25],
        "penstock_quota_limit": [4.0],
        "penstock_quota_used": [1.0],
    }
