"""How the machine is shown: every figure with its unit, and what was not read as such."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.hub.query import BadQuery
from telemetry.hub.shown.costs import MOST_PRICE, price_of
from telemetry.hub.shown.fleet_answers import Machine, Past
from telemetry.hub.shown.machine import MachineView, machine_view
from telemetry.hub.shown.series import Series, grown, spark
from telemetry.machine_conventions import GPU_DRIVER_UP, HOST_CPU
from tests.fakes.fleet import device, flat, host, line, machine, past, process, rising
from tests.fakes.hub import objective


def view(model: str = "", price: float | None = None, **changed: Any) -> MachineView:
    return machine_view(msgspec.convert(machine(**changed), Machine), model, price)


def sidecar(name: str, *series: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "error": "", "machine": past(*series)}


def test_the_machine_is_told_in_figures_with_units() -> None:
    host_view = view().host
    assert host_view is not None
    facts = dict(host_view.facts)
    assert facts["Busy"] == "50\u202f%"
    assert facts["Memory used"] == "5.00\u202fGiB of 8.00\u202fGiB"
    assert facts["Load over 1, 5, 15 min"] == "1.7, 1.2, 0.9"
    assert facts["Waited for cpu"] == "12\u202f%"
    assert facts["Waited for io"] == "–"
    assert host_view.cpu is not None
    assert {point.split(",")[1] for point in host_view.cpu.lines[0].split()} == {"50.0"}


def test_processes_are_told_the_largest_first() -> None:
    first, second = view().processes
    assert (first.process, first.model, first.version, first.cpu) == ("pod inference", "digits", "2", "0.3 CPU")
    assert first.memory == "410\u202fMiB"
    assert (second.process, second.sidecar, second.descriptors) == ("gateway worker 0", "gateway", "31")


def test_devices_are_busy_and_idle_for_so_long() -> None:
    cpu, cuda = view().devices
    assert (cpu.device, cpu.busy, cpu.idle) == ("cpu", "25\u202f%", "3\u202fm 45\u202fs of 5\u202fm 00\u202fs")
    assert (cpu.restarts, cpu.load, cpu.state) == ("1", "1.40\u202fs", "ready")
    assert (cuda.device, cuda.busy_s) == ("cuda:0", "3\u202fm 45\u202fs")
    assert [(row.model, row.idle) for row in view().idle] == [
        ("digits", "3\u202fm 45\u202fs"),
        ("text", "1\u202fm 15\u202fs"),
    ]


def test_a_gpu_says_what_holds_its_clocks_back_and_who_has_its_memory() -> None:
    (gpu,) = view().gpus
    assert gpu.slowed == ("it is at its power limit",)
    assert gpu.is_slowed
    assert gpu.errors == ("corrected errors of its memory (ECC): 3", "Xid 63: 1")
    assert gpu.processes == (("text/1", "20.0\u202fGiB"), ("all others", "4.00\u202fGiB"))
    assert (gpu.power, gpu.energy) == ("690 W of 700 W", "57.5 Wh in 5m")
    assert (gpu.sm_active, gpu.utilization, gpu.tensor_active) == ("50\u202f%", "100\u202f%", "–")
    assert gpu.unreadable == "nvmlDeviceGetRetiredPages"


def test_a_machine_without_a_gpu_says_so_and_one_whose_driver_is_silent_too() -> None:
    assert view(sidecars=[sidecar("gateway", host())]).gpus_sentence.startswith("No GPU: NVIDIA’s driver is not on")
    silent = sidecar("gateway", host(), [line(GPU_DRIVER_UP, flat(0.0))])
    assert "does not answer" in view(sidecars=[silent]).gpus_sentence
    assert view().gpus_sentence == ""


def test_a_control_group_that_was_too_small_is_told_apart() -> None:
    (group,) = view().groups
    assert (group.memory, group.oom_kills, group.is_bad) == ("922\u202fMiB of 1.00\u202fGiB", "1", True)


def test_costs_are_told_by_version_and_by_tenant_and_in_money_where_a_price_is_given() -> None:
    costs = view().costs
    assert costs is not None
    assert [(row.names, row.device, row.part) for row in costs.versions] == [
        (("text", "1"), "1\u202fm 30\u202fs", "90\u202f%"),
        (("digits", "2"), "10.0\u202fs", "10\u202f%"),
    ]
    assert [row.names for row in costs.tenants] == [("search", "text"), ("ads", "digits")]
    assert {row.price for row in costs.versions} == {""}
    priced = view(price=3.6)
    assert priced.costs is not None
    assert [row.price for row in priced.costs.versions] == ["0.0900", "0.0100"]
    assert priced.costs.total.price == "0.1000"
    assert [row.price for row in priced.idle] == ["0.2250", "0.0750"]
    assert view(costs=None).costs is None


def test_one_model_alone_can_be_looked_at() -> None:
    text = view(model="TEX")
    assert [row.model for row in text.devices] == ["text"]
    assert [row.model for row in text.idle] == ["text"]
    assert (text.host, text.processes, text.gpus, text.groups, text.gpus_sentence) == (None, (), (), (), "")


def test_who_is_silent_and_what_was_not_read_is_said() -> None:
    assert [one.name for one in view().silent] == ["text/1/1"]
    nothing = view(sidecars=[], pods=[])
    assert (nothing.host, nothing.devices, nothing.processes, nothing.over) == (None, (), (), "")
    young = sidecar("pod", [{**each, "values": each["values"][:1]} for each in device("a", "1", "cpu", 0.5)])
    (row,) = view(sidecars=[young]).devices
    assert (row.busy_s, row.idle, row.spark) == ("–", "–", None)
    gone = sidecar("pod", [{**each, "values": [*each["values"][:-1], None]} for each in process("hub", 1e8, 0.1)])
    assert view(sidecars=[gone]).processes == ()


def test_objectives_on_loads_and_cold_starts_are_listed() -> None:
    loads = objective(name="loads", events="loads", good=9, bad=1)
    ((name, model, _, good, bad),) = view(objectives=[loads]).starts
    assert (name, model, good, bad) == ("loads", "digits", "90\u202f%", "1")


@pytest.mark.parametrize("text", ["-1", "much", "nan", "inf", str(2 * MOST_PRICE)])
def test_a_price_that_is_none_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(BadQuery, match=r"price=2\.50"):
        price_of({"price": text})


def test_a_price_may_be_left_out() -> None:
    assert (price_of({}), price_of({"price": " "}), price_of({"price": "2.5"})) == (None, None, 2.5)


def test_counters_that_began_anew_never_shrink_and_gaps_are_left_out() -> None:
    assert grown([0.0, 2.0, 5.0]) == (5.0, 2)
    assert grown([8.0, 1.0, 3.0]) == (3.0, 2)
    assert grown([1.0, None, 9.0, 10.0]) == (1.0, 1)
    assert grown([]) == (0.0, 0)


def test_rates_are_of_the_last_minute() -> None:
    quiet_then_busy = [*rising(0.0)[:-4], *(1.0 * 15 * step for step in range(1, 5))]
    series = Series(msgspec.convert(past([line(HOST_CPU, quiet_then_busy, mode="user")]), Past))
    assert series.rate(series.line(HOST_CPU.name, mode="user")) == 1.0
    assert series.rate(series.line(HOST_CPU.name, mode="idle")) is None


def test_a_curve_has_gaps_where_nothing_was_read() -> None:
    drawn = spark([0.0, 1.0, None, 1.0, 0.5, None, 1.0], "x", top=1.0)
    assert drawn is not None
    assert [len(one.split()) for one in drawn.lines] == [2, 2]
    assert drawn.lines[0].split()[1].endswith(",0.0")
    assert spark([None, 1.0, None], "x") is None
    assert spark([0.0, 0.0], "x") is not None
