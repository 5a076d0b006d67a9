"""What a pod says of itself on ``GET /penstock/pod``; the supervisor's probe and ``penstock status`` read it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

STATUS_PATH = "/penstock/pod"


class PodState(StrEnum):
    """Where a pod is in its life."""

    STARTING = "starting"  # the model has not answered yet
    READY = "ready"
    RESTARTING = "restarting"  # the inference process died; accepted requests wait for its successor
    FAILED = "failed"  # the archive or the model cannot be loaded; tried again with back-off
    DRAINING = "draining"  # finishing what it has, taking nothing new


# Loads that a pod tells of; a crash loop that backs off fills them in about an hour.
MAX_LOADS_TOLD = 64


class LoadEnded(Struct, frozen=True):
    """One load of the model, since this pod's server started.

    Attributes:
        number: of it, from 1 on.
        ended_s: seconds since the epoch.
        took_s: from the start of the inference process, or of opening the archive where that failed.
        is_loaded: the model was ready then; else the load failed.
    """

    number: Annotated[int, Meta(ge=1, le=2**53)]
    ended_s: Annotated[float, Meta(ge=0.0, le=1e12)]
    took_s: Annotated[float, Meta(ge=0.0)]
    is_loaded: bool


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
        device_s: seconds that batches held the device, since this pod started.
        running_s: seconds for which the batch that runs now has held it.
        batches: that have run since this pod started.
        batch_rows: of all these batches.
        loop_lag_s: by how much the server's loop was late at worst in the last seconds.
        load_s: seconds from the start of the inference process to its being ready, the last time.
        instance: of this start of the pod's server, like no other; "" from a server that numbers no loads.
        loads: those that ended, at most the last ``MAX_LOADS_TOLD``, oldest first.
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
    device_s: float = 0.0
    running_s: float = 0.0
    loop_lag_s: float = 0.0
    instance: Annotated[str, Meta(max_length=64)] = ""
    loads: tuple[LoadEnded, ...] = ()
    batches: Annotated[int, Meta(ge=0, le=2**53)] = 0
    batch_rows: Annotated[int, Meta(ge=0, le=2**53)] = 0
