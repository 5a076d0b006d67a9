"""The table of the pod benchmark."""

from __future__ import annotations

from tests.benchmarks.offline import HANDLE, INFERENCE
from tests.benchmarks.pod import Passes, render
from tests.fakes.records import Outcome, Record, summarize


def test_a_pod_is_compared_with_the_offline_loops_of_the_same_pass() -> None:
    answered = [Record(index, 0.0, 0.0, 1.0, Outcome.WHOLE, 200, is_right=True) for index in range(10)]
    lost = Record(10, 0.0, 0.0, 1.0, Outcome.LOST)
    passes = Passes({INFERENCE: [100.0, 50.0], HANDLE: [20.0, 10.0]}, {16: [summarize([*answered, lost])] * 2})
    header, _, ideal, handler, pod = render(passes).splitlines()
    assert header.split()[0] == "rows/s"
    assert "1.000 [1.000..1.000]" in ideal
    assert "0.200 [0.200..0.200]" in handler
    assert "10 [10..10]  0.150 [0.100..0.200]" in pod
    assert pod.split()[-2:] == ["2", "2"]
