"""What a pod says of itself on ``GET /penstock/pod``; the supervisor's probe and ``penstock status`` read it."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

STATUS_PATH = "/penstock/pod"


class PodState(StrEnum):
    """Where a pod is in its life."""

    STARTING = "starting"  # the model has not answered yet
    READY = "ready"
    RESTARTING = "restarting"  # the inference process died; accepted requests wait for its successor
    FAILED = "failed"  # the archive or the model cannot be loaded; tried again with back-off
    DRAINING = "draining"  # finishing what it has, taking nothing new


class PodStatus(Struct, frozen=True):
    """One pod's own account.

    Attributes:
        state: READY is the only state in which ``/v2/health/ready`` answers 200.
        was_ready: the model has been ready at least once since this pod started.
        message: why it is not ready, "" when it is.
        device: ``cpu`` or ``cuda:N``; "" before the model is loaded.
        queued_rows: rows accepted and not yet running.
        running_rows: rows in the batch that runs now.
        restarts: how often the inference process was started anew.
        inference_pid: 0 when there is none.
        link: version of the link that it speaks on its address; 0 speaks HTTP/1.1 alone.
        outcomes_dropped: idempotency keys and answers let go before their time because there were too many.
        load_s: seconds from the start of the inference process to its being ready, the last time.
    """

    model: str
    version: str
    state: PodState
    was_ready: bool = False
    message: str = ""
    device: str = ""
    queued_rows: int = 0
    running_rows: int = 0
    restarts: int = 0
    pid: int = 0
    inference_pid: int = 0
    load_s: float = 0.0
    link: int = 0
    outcomes_dropped: int = 0
