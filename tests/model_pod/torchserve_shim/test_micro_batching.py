from __future__ import annotations

import pytest
from ts.handler_utils.micro_batching import MicroBatching


class Failing:
    def preprocess(self, rows: list[int]) -> list[int]:
        return rows

    def inference(self, rows: list[int]) -> list[int]:
        if 3 in rows:
            raise ValueError("three")
        return rows

    def postprocess(self, rows: list[int]) -> list[int]:
        return rows


def test_answers_keep_the_order_of_the_rows() -> None:
    run = MicroBatching(Failing(), micro_batch_size=2, parallelism={"inference": 3})
    assert run([10, 11, 12, 13, 14], None) == [10, 11, 12, 13, 14]
    run.shutdown()


def test_an_error_in_one_part_reaches_the_caller() -> None:
    run = MicroBatching(Failing(), micro_batch_size=2)
    with pytest.raises(ValueError, match="three"):
        run([1, 2, 3], None)
    run.shutdown()


def test_parts_have_at_least_one_row() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        MicroBatching(Failing(), micro_batch_size=0)
