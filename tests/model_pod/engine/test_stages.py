from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from ts.context import Context
from ts.handler_utils.micro_batching import MicroBatching

from model_pod.engine.handler import Handler
from model_pod.engine.stages import BatchResult, BatchRunner
from model_pod.wire.rows import Part, PartKind, Row, RowAnswer, RowRefused, Tensor


class Doubler:
    def __init__(self) -> None:
        self.calls: list[int] = []

    def preprocess(self, data: list[dict[str, Any]]) -> list[int]:
        self.calls.append(len(data))
        return [int(bytes(row["body"])) for row in data]

    def inference(self, numbers: list[int]) -> list[int]:
        return [2 * number for number in numbers]

    def postprocess(self, numbers: list[int]) -> list[Any]:
        return list(numbers)

    def handle(self, data: list[dict[str, Any]], context: Context) -> list[Any]:
        return self.postprocess(self.inference(self.preprocess(data)))


def _context() -> Context:
    return Context("m", "/", {}, 8, None, "0")


def _runner(instance: Any) -> BatchRunner:
    return BatchRunner(Handler(function=None, instance=instance), _context(), None, "cpu")


def _rows(count: int) -> list[Row]:
    return [Row(f"id-{index}", parts=(Part("body", PartKind.BYTES, index),)) for index in range(count)]


def test_the_row_that_fails_is_the_only_one_refused() -> None:
    handler = Doubler()
    result = _runner(handler).run(_rows(4), [b"1", b"x", b"3", b"4"])
    answers = [bytes(result.blobs[o.blob]) if isinstance(o, RowAnswer) else o.reason for o in result.outcomes]
    assert answers == [b"2", "handler_failed", b"6", b"8"]
    assert handler.calls == [4, 2, 1, 1, 2]
    assert result.runs == 5


def test_a_handler_with_stages_has_them_timed() -> None:
    runner = _runner(Doubler())
    times = runner.run(_rows(1), [b"1"]).times
    assert runner.timed_stages
    assert min(times.preprocess_s, times.inference_s, times.postprocess_s) > 0


def test_a_function_has_all_its_time_in_inference() -> None:
    function = Handler(function=lambda data, context: [None for _ in data or ()])
    runner = BatchRunner(function, _context(), None, "cpu")
    result = runner.run(_rows(1), [b"1"])
    assert not runner.timed_stages
    assert result.times.inference_s >= result.device_s > 0
    assert (result.times.preprocess_s, result.times.postprocess_s) == (0, 0)


def test_times_of_one_batch_do_not_count_for_the_next() -> None:
    runner = _runner(Doubler())
    runner.run(_rows(1), [b"1"])
    runner.run([], [])
    assert runner.run([], []).device_s == 0


def test_a_handler_with_slots_is_run_untimed() -> None:
    class Slotted(Doubler):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            if name != "calls":
                raise AttributeError(name)
            super().__setattr__(name, value)

    runner = _runner(Slotted())
    assert not runner.timed_stages
    assert isinstance(runner.run(_rows(1), [b"1"]).outcomes[0], RowAnswer)


def test_micro_batching_stands_in_for_handle() -> None:
    handler: Any = Doubler()
    handler.handle = MicroBatching(handler, micro_batch_size=2)
    result = _runner(handler).run(_rows(5), [b"1", b"2", b"3", b"4", b"5"])
    handler.handle.shutdown()
    assert [bytes(blob) for blob in result.blobs] == [b"2", b"4", b"6", b"8", b"10"]
    assert sorted(handler.calls) == [1, 2, 2]


def test_each_row_sees_its_own_id_and_sets_its_own_status() -> None:
    def handle(data: list[dict[str, Any]] | None, context: Context) -> list[Any]:
        context.set_response_status(418, "teapot", 1)
        return [context.get_request_id(index) for index in range(len(data or ()))]

    result = BatchRunner(Handler(function=handle), _context(), None, "cpu").run(_rows(2), [b"", b""])
    assert [outcome.status for outcome in result.outcomes] == [200, 418]
    assert [bytes(blob) for blob in result.blobs] == [b"id-0", b"id-1"]


def test_a_tensor_with_bad_bytes_refuses_its_row_alone() -> None:
    function = Handler(function=lambda data, context: [row["x"] for row in data or ()])
    rows = [Row("a", tensors=(Tensor("x", "FP32", (1,), 0),)), Row("b", tensors=(Tensor("x", "FP32", (1,), 1),))]
    first, second = BatchRunner(function, _context(), None, "cpu").run(rows, [b"1234", b"12"]).outcomes
    assert isinstance(first, RowAnswer)
    assert isinstance(second, RowRefused)
    assert second.reason == "bad_input"


@pytest.mark.parametrize("returned", [None, "notalist", (1,), {}])
def test_what_is_not_a_list_is_no_answer(returned: object) -> None:
    function = Handler(function=lambda data, context: returned)
    outcome = BatchRunner(function, _context(), None, "cpu").run(_rows(1), [b""]).outcomes[0]
    assert isinstance(outcome, RowRefused)
    assert outcome.reason == "bad_output"


def charged(handler: object, *bodies: bytes) -> tuple[BatchResult, int]:
    """Return a batch that ran, and how long its runs held the device together."""
    result = _runner(handler).run(_rows(len(bodies)), bodies)
    return result, round(result.device_s * 1e6)


class Sleeper(Doubler):
    """Holds the device for as many milliseconds as there are rows."""

    def inference(self, numbers: list[int]) -> list[int]:
        ends_s = time.perf_counter() + len(numbers) / 1000
        while time.perf_counter() < ends_s:
            pass
        return super().inference(numbers)


def test_rows_pay_together_what_their_batch_held_the_device() -> None:
    result, device_us = charged(Sleeper(), b"1", b"2", b"3")
    assert sum(result.charged_us) == device_us >= 3000
    assert max(result.charged_us) - min(result.charged_us) <= 1


def test_rows_whose_tokens_the_handler_told_pay_by_them() -> None:
    class Counting(Sleeper):
        def handle(self, data: list[dict[str, Any]], context: Context) -> list[Any]:
            for index, row in enumerate(data):
                context.set_response_header(index, "Penstock-Tokens", bytes(row["body"]).decode())
            return super().handle(data, context)

    result, device_us = charged(Counting(), b"10", b"20", b"70")
    assert [outcome.tokens for outcome in result.outcomes if isinstance(outcome, RowAnswer)] == [10, 20, 70]
    assert sum(result.charged_us) == device_us
    for share_us, tokens in zip(result.charged_us, (10, 20, 70), strict=True):
        assert abs(share_us - device_us * tokens / 100) < 1


def test_a_row_that_fails_in_the_model_pays_with_those_it_ran_with() -> None:
    class Picky(Sleeper):
        def inference(self, numbers: list[int]) -> list[int]:
            answers = super().inference(numbers)
            if 13 in numbers:
                raise ValueError("13")
            return answers

    result, device_us = charged(Picky(), b"13", b"2", b"3", b"4")
    assert result.runs == 5  # 4, 2, 1 (the culprit), 1, 2 rows
    assert sum(result.charged_us) == device_us >= 10_000
    culprit, mate, *others = result.charged_us
    # The first run is everybody's, the second that of two, and each then has a run of its own.
    assert culprit >= 3000
    assert mate >= 3000
    assert min(others) >= 2000


def test_a_row_that_never_reached_the_model_pays_nothing_if_it_ran_alone() -> None:
    result, device_us = charged(Sleeper(), b"x")
    assert (result.charged_us, device_us) == ((0,), 0)


def test_what_a_handler_s_own_thread_ran_between_batches_is_nobody_s() -> None:
    handler = Sleeper()
    runner = _runner(handler)
    thread = threading.Thread(target=lambda: handler.inference(list(range(300))))
    thread.start()
    thread.join()
    assert runner.run(_rows(1), [b"1"]).charged_us[0] < 300_000
