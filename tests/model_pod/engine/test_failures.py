from __future__ import annotations

import pytest
import torch
from ts.utils.util import PredictionException

from model_pod.engine.failures import MAX_MESSAGE_CHARACTERS, describe, failure_of
from model_pod.engine.isolation import Remedy


class Bare(PredictionException):
    def __init__(self) -> None:
        Exception.__init__(self, "without the parent's attributes")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "reason", "remedy"),
    [
        (ValueError("bad"), "handler_failed", Remedy.HALVE),
        (RuntimeError("text mentioning CUDA only"), "handler_failed", Remedy.HALVE),
        (SystemExit(1), "handler_failed", Remedy.HALVE),
        (Unprintable(), "handler_failed", Remedy.HALVE),
        (MemoryError(), "out_of_memory", Remedy.HALVE),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory", Remedy.HALVE),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "out_of_memory", Remedy.HALVE),
        (RuntimeError("CUDA error: device-side assert triggered"), "inference_lost", Remedy.STOP),
        (torch.AcceleratorError("CUDA error: an illegal memory access"), "inference_lost", Remedy.STOP),
        (Bare(), "row_refused", Remedy.HALVE),
        (PredictionException("no", 422), "row_refused", Remedy.HALVE),
    ],
)
def test_the_type_of_an_error_decides(error: BaseException, reason: str, remedy: Remedy) -> None:
    failure = failure_of(error)
    assert (failure.refusal.reason, failure.remedy) == (reason, remedy)


@pytest.mark.parametrize(("code", "status"), [(422, 422), (599, 599), (200, 500), (0, 500)])
def test_a_handlers_own_status_is_kept_where_it_is_an_error(code: int, status: int) -> None:
    assert failure_of(PredictionException("no", code)).refusal.status == status


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("first\nsecond"), "ValueError: first"),
        (ValueError(), "ValueError"),
        (OSError("cannot open /srv/models/m/w.pt today"), "OSError: cannot open (path) today"),
        (ValueError("1/2 and/or 3"), "ValueError: 1/2 and/or 3"),
        (
            RuntimeError(
                "The following operation failed in the TorchScript interpreter.\n"
                "Traceback of TorchScript (most recent call last):\n"
                '  File "/srv/models/m/net.py", line 5, in forward\n'
                "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x3 and 4x2)\n"
            ),
            "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x3 and 4x2)",
        ),
    ],
)
def test_a_description_is_one_line_without_paths(error: Exception, message: str) -> None:
    assert describe(error) == message


def test_a_description_is_bounded() -> None:
    assert len(describe(ValueError("x" * 10_000))) == MAX_MESSAGE_CHARACTERS
