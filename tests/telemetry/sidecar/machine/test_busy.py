"""How busy a device is, by what its pod says of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.machine_conventions import DEVICE_BUSY, DEVICE_BUSY_SECONDS, LOOP_LAG
from telemetry.sidecar.account import PodAccount, State
from telemetry.sidecar.machine.busy import DeviceBusy


def account(device_s: float, running_s: float = 0.0, device: str = "cuda:0", pid: int = 7) -> PodAccount:
    return PodAccount(
        "digits", "1", State.READY, 0, 0, 0, 0.5, pid=pid, device=device, device_s=device_s, running_s=running_s
    )


def told(busy: DeviceBusy) -> dict[str, float]:
    values = {sample.metric: sample.value for sample in busy.samples()}
    assert all(isinstance(value, float) for value in values.values())
    return {metric.name: value for metric, value in values.items() if isinstance(value, float)}


def test_it_is_the_share_of_the_time_between_what_the_pod_said() -> None:
    busy = DeviceBusy()
    busy.heed(account(10.0), 100.0)
    assert DEVICE_BUSY.name not in told(busy), "one word says nothing of a rate"
    busy.heed(account(10.75), 101.0)
    assert told(busy)[DEVICE_BUSY.name] == pytest.approx(0.75)
    assert told(busy)[DEVICE_BUSY_SECONDS.name] == 10.75


def test_only_the_last_minute_counts() -> None:
    busy = DeviceBusy()
    for second in range(200):
        busy.heed(account(float(min(second, 100))), float(second))
    assert told(busy)[DEVICE_BUSY.name] == 0.0
    busy.heed(account(100.0 + 30.0), 230.0)
    assert told(busy)[DEVICE_BUSY.name] == pytest.approx(30 / 61, abs=0.02)


def test_a_batch_that_runs_for_long_is_busy_before_it_ends() -> None:
    busy = DeviceBusy()
    for second in range(30):
        busy.heed(account(0.0, running_s=float(second)), float(second))
    assert told(busy)[DEVICE_BUSY.name] == pytest.approx(1.0)
    assert told(busy)[DEVICE_BUSY_SECONDS.name] == 0.0


@pytest.mark.parametrize(
    "after", [account(0.1), account(90.0, pid=8), account(90.0, device="cuda:1"), account(90.0, device="")]
)
def test_a_pod_that_began_anew_or_elsewhere_is_judged_anew(after: PodAccount) -> None:
    busy = DeviceBusy()
    for second in range(3):
        busy.heed(account(50.0 + second), float(second))
    busy.heed(after, 3.0)
    assert DEVICE_BUSY.name not in told(busy)


def test_of_a_silent_pod_nothing_is_told_and_its_silence_is_no_idleness() -> None:
    busy = DeviceBusy()
    busy.heed(account(0.0), 0.0)
    busy.heed(None, 1.0)
    assert told(busy) == {}
    busy.heed(account(40.0), 50.0)
    assert DEVICE_BUSY.name not in told(busy)
    busy.heed(account(41.0), 51.0)
    assert told(busy)[DEVICE_BUSY.name] == pytest.approx(1.0)


def test_the_lateness_of_the_pod_s_loop_is_told_before_there_is_a_device() -> None:
    busy = DeviceBusy()
    busy.heed(PodAccount("digits", "1", State.STARTING, 0, 0, 0, 0.0, loop_lag_s=0.25), 0.0)
    assert told(busy) == {LOOP_LAG.name: 0.25}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e4), st.floats(0, 30)), max_size=40))
def test_whatever_a_pod_says_it_is_a_ratio(said: list[tuple[float, float, float]]) -> None:
    busy, now_s = DeviceBusy(), 0.0
    for device_s, running_s, later_s in said:
        now_s += later_s
        busy.heed(account(device_s, running_s), now_s)
        assert 0.0 <= told(busy).get(DEVICE_BUSY.name, 0.0) <= 1.0
