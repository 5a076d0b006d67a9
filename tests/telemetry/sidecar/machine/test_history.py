"""An hour of what was read, bounded."""

from __future__ import annotations

from telemetry.machine_conventions import HOST_CPUS, PROCESS_RESIDENT, PROCESS_THREADS
from telemetry.sidecar.machine.history import POINTS, SERIES, STEP_S, History
from telemetry.sidecar.samples import Sample


def cpus(value: float) -> Sample:
    return Sample(HOST_CPUS, (), value)


def threads(process: str, pid: int, value: float) -> Sample:
    return Sample(PROCESS_THREADS, (process, "", "", str(pid)), value)


def taken(*readings: tuple[float, list[Sample]]) -> History:
    history = History()
    for now_s, samples in readings:
        history.take(samples, now_s, 1000.0 + now_s)
    return history


def values(history: History) -> dict[str, list[float | None]]:
    return {line.labels.get("process", line.metric): line.values for line in history.told().series}


def test_before_the_first_reading_there_is_nothing() -> None:
    told = History().told()
    assert (told.series, told.ends_s, told.step_s) == ([], 0.0, STEP_S)


def test_one_value_is_kept_of_each_step() -> None:
    history = taken(*((5.0 * number, [cpus(float(number))]) for number in range(10)))
    assert values(history) == {"penstock_host_cpus": [0.0, 3.0, 6.0, 9.0]}
    assert history.told().ends_s == 1045.0


def test_it_forgets_what_is_older_than_an_hour() -> None:
    history = taken(*((STEP_S * number, [cpus(float(number))]) for number in range(POINTS + 5)))
    (line,) = values(history).values()
    assert (len(line), line[0], line[-1]) == (POINTS, 5.0, POINTS + 4.0)


def test_what_comes_later_ends_with_the_others_and_what_goes_leaves_gaps() -> None:
    history = taken(
        (0.0, [cpus(1.0)]), (STEP_S, [cpus(1.0), threads("hub", 5, 3.0)]), (2 * STEP_S, [threads("hub", 5, 4.0)])
    )
    assert values(history) == {"penstock_host_cpus": [1.0, 1.0, None], "hub": [3.0, 4.0]}


def test_time_without_a_reading_is_a_gap() -> None:
    history = taken((0.0, [cpus(1.0)]), (4 * STEP_S, [cpus(2.0)]))
    assert values(history) == {"penstock_host_cpus": [1.0, None, None, None, 2.0]}


def test_a_process_that_was_started_anew_goes_on_in_its_series() -> None:
    history = taken((0.0, [threads("hub", 5, 3.0)]), (STEP_S, [threads("hub", 6, 4.0)]))
    assert values(history) == {"hub": [3.0, 4.0]}
    both = taken((0.0, [threads("hub", 5, 3.0), threads("hub", 6, 4.0)]))
    assert values(both) == {"hub": [7.0]}


def test_a_series_that_is_gone_for_an_hour_is_forgotten() -> None:
    readings = [(STEP_S * number, [cpus(1.0)]) for number in range(1, POINTS + 1)]
    history = taken((0.0, [cpus(1.0), threads("hub", 5, 3.0)]), *readings)
    assert set(values(history)) == {"penstock_host_cpus"}


def test_series_are_bounded_and_those_without_room_are_counted() -> None:
    many = [Sample(PROCESS_RESIDENT, (f"process {number}", "", "", "1"), 1.0) for number in range(SERIES + 7)]
    history = taken((0.0, many), (STEP_S, many))
    told = history.told()
    assert (len(told.series), told.left_out) == (SERIES, 7)
    assert all(line.values == [1.0, 1.0] for line in told.series)


def test_the_newest_values_are_told_alone_without_what_has_none() -> None:
    history = taken((0.0, [cpus(1.0)]), (STEP_S, [threads("hub", 5, 3.0)]), (2 * STEP_S, [threads("hub", 5, 4.0)]))
    assert [(line.metric, line.values) for line in history.told(2).series] == [("penstock_process_threads", [3.0, 4.0])]
    assert [line.values for line in history.told(100).series] == [[1.0, None, None], [3.0, 4.0]]
