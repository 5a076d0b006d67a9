"""The life of a pod as a table: what each event makes of each state, and when the inference process is started next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from model_pod.wire.status import PodState

HEALTHY_AFTER_S = 60.0  # so long without a fault, and the back-off starts over
MAX_BACK_OFF_S = 60.0
LOAD_ATTEMPTS = 2  # one failed load may be bad luck (memory, a slow disk); two in a row are the model's own fault


class Happened(Enum):
    """What can happen to a pod."""

    LOADED = "the model answers"
    LOAD_FAILED = "loading failed, and may work the next time"
    LOAD_REFUSED = "loading failed for good: twice in a row, or the archive is bad"
    LOST = "the inference process died after it was ready"
    DRAIN = "the pod shall finish"


@dataclass(frozen=True, slots=True)
class Life:
    """Where a pod is.

    Attributes:
        message: why it is not ready, for its owner; "" when it is.
        was_ready: the model has answered at least once.
        restarts: how often the inference process had to be started anew.
        faults: faults since the pod was last healthy; they set the back-off.
        failed_loads: failed loads in a row.
        start_at_s: when the next inference process is due; infinity while one is there.
        ready_since_s: infinity when it is not ready.
    """

    state: PodState = PodState.STARTING
    message: str = "The model is loading."
    was_ready: bool = False
    restarts: int = 0
    faults: int = 0
    failed_loads: int = 0
    start_at_s: float = -math.inf
    ready_since_s: float = math.inf


_S, _H = PodState, Happened
TRANSITIONS: dict[tuple[PodState, Happened], PodState] = {
    (_S.STARTING, _H.LOADED): _S.READY,
    (_S.STARTING, _H.LOAD_FAILED): _S.STARTING,
    (_S.STARTING, _H.LOAD_REFUSED): _S.FAILED,
    (_S.READY, _H.LOST): _S.RESTARTING,
    (_S.RESTARTING, _H.LOADED): _S.READY,
    (_S.RESTARTING, _H.LOAD_FAILED): _S.RESTARTING,
    (_S.RESTARTING, _H.LOAD_REFUSED): _S.FAILED,
    (_S.FAILED, _H.LOADED): _S.READY,
    (_S.FAILED, _H.LOAD_FAILED): _S.FAILED,
    (_S.FAILED, _H.LOAD_REFUSED): _S.FAILED,
    **{(state, _H.DRAIN): _S.DRAINING for state in PodState},
    **{(_S.DRAINING, happened): _S.DRAINING for happened in Happened},
}


def after(life: Life, happened: Happened, now_s: float, message: str = "") -> Life:
    """Return the life after an event.

    Raises:
        KeyError: the event cannot happen in this state.
    """
    state = TRANSITIONS[life.state, happened]
    if happened is Happened.LOADED:
        return replace(
            life, state=state, message="", was_ready=True, failed_loads=0, start_at_s=math.inf, ready_since_s=now_s
        )
    if happened is Happened.DRAIN:
        return replace(life, state=state, message="The pod is draining.")
    faults = 1 if now_s - life.ready_since_s >= HEALTHY_AFTER_S else life.faults + 1
    return replace(
        life,
        state=state,
        message=message,
        restarts=life.restarts + 1,
        faults=faults,
        failed_loads=life.failed_loads + (happened is not Happened.LOST),
        start_at_s=now_s + back_off_s(faults),
        ready_since_s=math.inf,
    )


def failed_load(life: Life, is_archive: bool) -> Happened:
    """Judge a failed load: another one after this may help, or not.

    Args:
        is_archive: the archive could not be opened, so the model was never tried.
    """
    is_final = is_archive or life.failed_loads + 1 >= LOAD_ATTEMPTS
    return Happened.LOAD_REFUSED if is_final else Happened.LOAD_FAILED


def back_off_s(faults: int) -> float:
    """Return how long to wait before the next start: 0, 1, 2, 4 ... 60 seconds."""
    if faults <= 1:
        return 0.0
    return min(MAX_BACK_OFF_S, 2.0 ** min(faults - 2, 16))
