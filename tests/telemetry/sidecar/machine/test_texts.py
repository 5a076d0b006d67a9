"""What the kernel writes, as it wrote it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar.machine import texts
from telemetry.sidecar.machine.texts import Pressure, Stat

STAT = (
    "1285 (penstock gatewa) S 1270 1285 1240 0 -1 4194560 12034 0 3 0 1002 233 0 0 20 0 3 0 7189570 "
    "231215104 8637 18446744073709551615 94906574884864 94906574904745 140721424147632 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0"
)
MEMINFO = """\
MemTotal:       24684092 kB
MemAvailable:   23365404 kB
Active(anon):       1600 kB
HugePages_Total:       3
DirectMap4k:      not told
"""
ROLLUP = """\
558109f69000-7fffff69a000 ---p 00000000 00:00 0                          [rollup]
Rss:                1680 kB
Pss:                 228 kB
"""
LIMITS = (
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max cpu time              unlimited            unlimited            seconds   \n"
    "Max open files            {soft}                20000                files     \n"
)
SYSTEM = "cpu  6344596 385421 1057249 6327782 58834 0 92661 155231 7 0\ncpu0 1 2 3\nintr 5\nbtime 1795217554\n"


def test_a_process() -> None:
    assert texts.stat(STAT) == Stat(1285, "penstock gatewa", 1270, 1002, 233, 3, 7189570, 8637)


@given(st.text("ab() ", max_size=15))
def test_a_process_may_call_itself_anything(name: str) -> None:
    told = texts.stat(STAT.replace("penstock gatewa", name))
    assert (told.name, told.parent, told.threads) == (name, 1270, 3)


@pytest.mark.parametrize("text", ["", "12", "12 (a", "12 (a) S 1", "x (a) " + "1 " * 30])
def test_what_is_no_process_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        texts.stat(text)


@pytest.mark.parametrize(
    ("command_line", "title"),
    [
        (b"penstock gateway worker 0      \0", "penstock gateway worker 0"),
        (b"penstock hub\0\0\0\0\0", "penstock hub"),
        (b"/usr/bin/python\0-m\0x\0", "/usr/bin/python"),
        (b"\xff\0", "\ufffd"),
        (b"", ""),
    ],
)
def test_a_title_is_the_first_argument(command_line: bytes, title: str) -> None:
    assert texts.title(command_line) == title


def test_sizes_are_bytes_and_counts_are_counts() -> None:
    assert texts.sizes(MEMINFO) == {
        "MemTotal": 24684092 * 1024,
        "MemAvailable": 23365404 * 1024,
        "Active(anon)": 1600 * 1024,
        "HugePages_Total": 3,
    }
    assert texts.sizes(ROLLUP)["Pss"] == 228 * 1024
    status = "Name:\tcat\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t1\n"
    assert texts.sizes(status) == {"voluntary_ctxt_switches": 12, "nonvoluntary_ctxt_switches": 1}


def test_counts() -> None:
    assert texts.counts("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n\nbroken\n")["oom_kill"] == 4


@pytest.mark.parametrize(("soft", "most"), [("1024", 1024), ("unlimited", None)])
def test_how_many_descriptors_may_be_open(soft: str, most: int | None) -> None:
    assert texts.most_descriptors(LIMITS.format(soft=soft)) == most
    with pytest.raises(ValueError):
        texts.most_descriptors("Limit Soft\n")


def test_pressure_is_in_seconds_and_some_kernels_tell_no_full_of_processors() -> None:
    some = "some avg10=19.05 avg60=26.98 avg300=20.90 total=20999518191\n"
    assert texts.pressure(some) == Pressure(20999.518191, None)
    full = some + "full avg10=0.27 avg60=0.19 avg300=0.60 total=428440160\n"
    assert texts.pressure(full) == Pressure(20999.518191, 428.44016)
    with pytest.raises(ValueError):
        texts.pressure("")


def test_the_machine() -> None:
    assert texts.loads("2.55 1.92 1.91 1/134 22315\n") == (2.55, 1.92, 1.91)
    assert texts.boot_time_s(SYSTEM) == 1795217554.0
    told = texts.cpu_ticks(SYSTEM)
    assert (told["user"], told["idle"], told["steal"]) == (6344596, 6327782, 155231)
    assert set(told) == set(texts.CPU_MODES)
    for broken in ("", "cpu0 1 2\n"):
        with pytest.raises(ValueError):
            texts.cpu_ticks(broken)
        with pytest.raises(ValueError):
            texts.boot_time_s(broken)


@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", None), ("9223372036854771712\n", None), ("1073741824\n", 1073741824), ("0\n", 0)]
)
def test_a_limit_or_none(text: str, limit: int | None) -> None:
    assert texts.limit(text) == limit


@pytest.mark.parametrize(("text", "cpus"), [("max 100000\n", None), ("-1 100000", None), ("150000 100000\n", 1.5)])
def test_how_many_processors_may_be_used(text: str, cpus: float | None) -> None:
    assert texts.cpus(text) == cpus
