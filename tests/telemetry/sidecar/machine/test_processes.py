"""Whose processes there are, and what is shown of one."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from telemetry.machine_conventions import PROCESS_CPU, PROCESS_SWITCHES
from telemetry.sidecar.machine.processes import Running, Who, family, of_title, owner, samples
from telemetry.sidecar.machine.texts import Stat

MESH = {
    100: (50, "penstock up"),
    101: (100, "penstock gateway supervisor"),
    102: (101, "penstock gateway worker 0"),
    103: (101, "penstock gateway copies"),
    104: (100, "penstock hub"),
    105: (100, "penstock sidecar gateway"),
    106: (100, "penstock pod digits/1 server"),
    107: (106, "penstock pod digits/1 inference"),
    108: (107, "python"),
    109: (100, "penstock sidecar digits/1"),
    200: (50, "penstock up"),
    201: (200, "penstock gateway supervisor"),
    50: (1, "bash"),
    1: (0, "init"),
}
"""Two meshes under one shell."""


def seen(processes: Mapping[int, tuple[int, str]]) -> tuple[dict[int, Stat], dict[int, str]]:
    stats = {pid: Stat(pid, title[:15], parent, 0, 0, 1, 0, 0) for pid, (parent, title) in processes.items()}
    return stats, {pid: title for pid, (_, title) in processes.items() if title.startswith("penstock")}


@pytest.mark.parametrize(
    ("title", "who"),
    [
        ("penstock gateway worker 12", Who("gateway worker 12")),
        ("penstock up", Who("up")),
        ("penstock pod digits/1 server", Who("pod server", "digits", "1")),
        ("penstock pod digits/1/0 server", Who("pod server", "digits", "1")),
        ("penstock pod my model/v 2 inference", Who("pod inference", "my model", "v 2")),
        ("penstock sidecar gateway", Who("sidecar")),
        ("penstock sidecar", Who("sidecar")),
        ("penstock sidecar digits/1", Who("sidecar", "digits", "1")),
        ("penstock", None),
        ("penstockish thing", None),
        ("vim penstock up", None),
        ("", None),
    ],
)
def test_a_title_says_whose_process_it_is(title: str, who: Who | None) -> None:
    assert of_title(title) == who


def test_the_gateway_s_sidecar_tells_of_its_own_mesh_but_for_pods() -> None:
    told = family(*seen(MESH), 105)
    assert {pid: who.process for pid, who in told.items()} == {
        100: "up",
        101: "gateway supervisor",
        102: "gateway worker 0",
        103: "gateway copies",
        104: "hub",
        105: "sidecar",
    }


def test_one_that_was_started_by_hand_tells_of_itself_alone() -> None:
    processes = {**MESH, 300: (50, "penstock sidecar gateway")}
    assert set(family(*seen(processes), 300)) == {300}


def test_in_a_container_it_tells_of_all_that_share_its_processes() -> None:
    shared = {
        1: (0, "pause"),
        7: (0, "penstock gateway supervisor"),
        8: (7, "penstock gateway worker 0"),
        20: (0, "penstock sidecar gateway"),
        21: (1, "penstock hub"),
    }
    assert set(family(*seen(shared), 20)) == {7, 8, 20}


def test_one_that_ended_between_two_looks_is_left_out() -> None:
    stats, titles = seen(MESH)
    del stats[102]
    assert 102 not in family(stats, titles, 105)
    assert family({}, {}, 105) == {}


def test_what_an_inference_process_started_is_its_own() -> None:
    stats, titles = seen(MESH)
    digits = Who("pod inference", "digits", "1")
    assert owner(stats, titles, 107) == owner(stats, titles, 108) == (107, digits)
    assert owner(stats, titles, 104) is None, "the hub is no model"
    assert owner(stats, titles, 50) is None
    assert owner(stats, titles, 9999) is None


def test_parents_that_go_round_end() -> None:
    stats, titles = seen({5: (6, "a"), 6: (5, "b")})
    assert owner(stats, titles, 5) is None


def test_what_could_not_be_read_has_no_series() -> None:
    running = Running(Who("hub"), 104, 1024, 1.5, 0.5, 3, 1795217554.0)
    told = {sample.metric.name.removeprefix("penstock_process_"): sample for sample in samples(running)}
    assert set(told) == {"resident_memory_bytes", "cpu_seconds_total", "threads", "start_time_seconds"}
    assert all(sample.labels[:4] == ("hub", "", "", "104") for sample in told.values())


def test_every_series_of_a_process_has_the_labels_of_its_metric() -> None:
    running = Running(Who("pod inference", "digits", "1"), 107, 1024, 1.5, 0.5, 3, 0.0, 512, 9, 20_000, 7, 2)
    told = list(samples(running))
    assert all(len(sample.labels) == len(sample.metric.labels) for sample in told)
    by_mode = {sample.labels[4]: sample.value for sample in told if sample.metric in (PROCESS_CPU, PROCESS_SWITCHES)}
    assert by_mode == {"user": 1.5, "system": 0.5, "voluntary": 7.0, "involuntary": 2.0}
