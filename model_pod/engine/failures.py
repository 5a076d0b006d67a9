"""Turns what a handler raised into a refusal and a remedy, by the exception's type."""

from __future__ import annotations

import re
import traceback

import torch
from ts.utils.util import PredictionException

from model_pod.engine.isolation import Remedy, RunFailed
from model_pod.wire.rows import RowRefused

MAX_MESSAGE_CHARACTERS = 300
MAX_TRACEBACK_CHARACTERS = 16_384

_PATH = re.compile(r"(?:/[\w.@+-]+){2,}/?")
# cuBLAS reports that it found no memory as a plain RuntimeError with this word.
_ALLOCATION_WORDS = ("CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
# TorchScript puts this and a traceback of its own before the error that it met, which is the last line.
_TORCHSCRIPT_FIRST = "The following operation failed in the TorchScript interpreter."


def failure_of(error: BaseException) -> RunFailed:
    """Return what a run's exception means for its rows."""
    if isinstance(error, PredictionException):
        return RunFailed(_refused_by_handler(error), Remedy.HALVE)
    if is_out_of_memory(error):
        return RunFailed(RowRefused("out_of_memory", "There was no memory left for this row."), Remedy.HALVE)
    if is_device_lost(error):
        message = "The device failed while it ran this row; the model is being restarted."
        return RunFailed(RowRefused("inference_lost", message), Remedy.STOP)
    return RunFailed(RowRefused("handler_failed", describe(error)), Remedy.HALVE)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether the host or the device had no memory left; the process can go on."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in _text_of(error) for word in _ALLOCATION_WORDS)


def is_device_lost(error: BaseException) -> bool:
    """Return whether the device's state is spoilt, so that every later call would fail until a new process starts."""
    if isinstance(error, torch.AcceleratorError):
        return True
    return type(error) is RuntimeError and _text_of(error).startswith("CUDA error:")


def describe(error: BaseException) -> str:
    """Return ``TypeName: text`` in one line without paths, for the caller."""
    lines = _text_of(error).strip().splitlines()
    text = _PATH.sub("(path)", lines[0]) if lines else ""
    if text == _TORCHSCRIPT_FIRST:
        text = _PATH.sub("(path)", lines[-1]).removeprefix("RuntimeError: ")
    return f"{type(error).__name__}: {text}"[:MAX_MESSAGE_CHARACTERS].rstrip(": ")


def traceback_of(error: BaseException) -> str:
    """Return the traceback for the log; its end where it is too long, because there is the cause."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException:
        # The exception is the handler's own class; whatever printing it does must not end the process.
        text = type(error).__name__
    return text[-MAX_TRACEBACK_CHARACTERS:]


def _refused_by_handler(error: PredictionException) -> RowRefused:
    # The handler's own, so of any type.
    code: object = getattr(error, "error_code", 0)
    message: object = getattr(error, "message", "")
    status = code if isinstance(code, int) and 400 <= code <= 599 else 500
    return RowRefused("row_refused", _text_of(message)[:MAX_MESSAGE_CHARACTERS], status)


def _text_of(value: object) -> str:
    try:
        # A text with half a surrogate pair could not travel to the caller.
        return str(value).encode(errors="replace").decode()
    except BaseException:
        # ``__str__`` is the handler's own code; whatever it does must not end the process.
        return ""
