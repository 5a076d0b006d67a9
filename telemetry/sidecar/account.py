"""Reads what a pod says of itself out of the bytes of its HTTP answer; knows only the fields that become metrics."""

from __future__ import annotations

import re
from enum import StrEnum
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from io import BytesIO
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)

# Integers up to here are exact as the floating-point numbers that Prometheus keeps.
_LARGEST_COUNT = 2**53

# What a name becomes part of (process title, event line, label) is read by people and takes no control characters.
Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{1,256}$")]
Device = Annotated[str, Meta(pattern=r"^[a-z0-9:]{0,32}$")]
Count = Annotated[int, Meta(ge=0, le=_LARGEST_COUNT)]
Length = Annotated[float, Meta(ge=0.0)]


class State(StrEnum):
    """Where a pod is in its life, in the pod's own words."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    FAILED = "failed"
    DRAINING = "draining"


class PodAccount(Struct, frozen=True):
    """One pod's own account, as far as it is measured.

    Attributes:
        queued_rows: rows accepted and not yet running.
        running_rows: rows in the batch that runs now.
        restarts: how often the inference process was started anew.
        load_s: seconds the last load took; 0 while the model is not loaded.
        outcomes_dropped: idempotency keys and answers that it let go before their time.
        pid, inference_pid: of its processes, as it knows them; 0 when there is none.
        device: ``cpu`` or ``cuda:N``; "" while the model is not loaded.
        device_s: seconds that batches held the device, since the pod started.
        running_s: seconds for which the batch that runs now has held it.
        loop_lag_s: by how much its loop was late at worst, lately.
    """

    model: Name
    version: Name
    state: State
    queued_rows: Count
    running_rows: Count
    restarts: Count
    load_s: Length
    outcomes_dropped: Count = 0
    pid: Count = 0
    inference_pid: Count = 0
    device: Device = ""
    device_s: Length = 0.0
    running_s: Length = 0.0
    loop_lag_s: Length = 0.0


class PodSilent(Exception):
    """The pod gave no account of itself; the message says why."""


_decode = msgspec.json.Decoder(PodAccount).decode


class _Received:
    """Bytes that are all there, where ``http.client`` expects a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> BytesIO:
        return BytesIO(self._data)


def is_whole(answer: bytes | bytearray) -> bool:
    """Whether an answer has the length that it names; one that names none ends with its connection."""
    head_bytes = answer.find(b"\r\n\r\n") + 4
    length = _CONTENT_LENGTH.search(answer, 0, head_bytes) if head_bytes >= 4 else None
    return length is not None and len(answer) >= head_bytes + int(length[1])


def read_answer(answer: bytes) -> PodAccount:
    """Return the account in a whole HTTP answer.

    Raises:
        PodSilent: it is no HTTP, no 200, or no account.
    """
    response = HTTPResponse(_Received(answer))  # type: ignore[arg-type]  # all it uses of a socket is makefile
    try:
        response.begin()
        body = response.read()
    except (HTTPException, ValueError) as error:
        raise PodSilent(f"its answer is not HTTP ({type(error).__name__})") from error
    if response.status != HTTPStatus.OK:
        raise PodSilent(f"it answered {response.status}")
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PodSilent(f"its answer is no account of a pod: {error}") from error
