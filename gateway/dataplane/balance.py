"""Balance: which pod of a version gets a request; two random choices, and the one with less outstanding work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from msgspec import Struct

from model_pod.wire.status import PodState


class PodLoad(Struct, frozen=True):
    """What the choice knows of one pod.

    Attributes:
        state: as the supervisor's probe last saw it.
        was_ready: it has been ready at least once.
        outstanding: requests of this worker that it has and has not answered.
        suspect: a connection to it failed a moment ago.
    """

    state: PodState
    was_ready: bool
    outstanding: int
    suspect: bool


class Pick(Struct, frozen=True):
    """Index of the chosen pod; -1 and the reason when there is none."""

    index: int
    reason: str = ""


def pick_pod(pods: Sequence[PodLoad], in_flight: int, draw: float) -> Pick:
    """Choose among the pods that can answer soonest.

    Ready pods come first. When there are none, a pod that was ready before keeps requests in its queue while its
    inference process restarts, or in its socket's backlog while its successor starts, which beats refusing them.

    Args:
        in_flight: most outstanding requests that one pod may have.
        draw: uniform in [0, 1).
    """
    usable = _first_nonempty(
        [i for i, pod in enumerate(pods) if pod.state is PodState.READY and not pod.suspect],
        [i for i, pod in enumerate(pods) if pod.was_ready and _will_answer(pod.state)],
    )
    if not usable:
        return Pick(-1, "no_pod_ready")
    free = [i for i in usable if pods[i].outstanding < in_flight]
    if not free:
        return Pick(-1, "pods_busy")
    if len(free) == 1:
        return Pick(free[0])
    first, second = _two_of(len(free), draw)
    return Pick(min(free[first], free[second], key=lambda i: pods[i].outstanding))


def _will_answer(state: PodState) -> bool:
    return state is not PodState.FAILED


_Index = TypeVar("_Index")


def _first_nonempty(*choices: list[_Index]) -> list[_Index]:
    return next((choice for choice in choices if choice), [])


def _two_of(count: int, draw: float) -> tuple[int, int]:
    """Two different indices below ``count`` from one draw, every ordered pair equally likely."""
    pair = int(draw * count * (count - 1))
    first, second = divmod(pair, count - 1)
    return first, second + (second >= first)
