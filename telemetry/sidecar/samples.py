"""Decides what is shown of a pod: from its last account and the time, to samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from telemetry.conventions import (
    INFERENCE_RESTARTS,
    LOG_LINES,
    LOG_SUPPRESSED,
    MODEL_LOAD_SECONDS,
    OUTCOMES_DROPPED,
    POD_STATE,
    POD_UP,
    QUEUE_ROWS,
    RUNNING_ROWS,
    SCRAPE_AGE_SECONDS,
    Metric,
)
from telemetry.sidecar.account import PodAccount, State
from telemetry.sidecar.histogram import Histogram

WHOLE_LOAD = "whole"
"""The phase of a load that is all of it; the others come from its record."""


class PodView(Struct, frozen=True):
    """What the sidecar knows of its pod.

    Attributes:
        answered_s: monotonic time of the last answer; of the sidecar's start while there was none.
        model: "" until the pod has answered once; likewise ``version``.
        account: what the pod said when it was last asked; None when it was silent.
    """

    answered_s: float
    model: str = ""
    version: str = ""
    account: PodAccount | None = None

    @property
    def name(self) -> str:
        """``MODEL/VERSION``, or "" until the pod has answered once."""
        return f"{self.model}/{self.version}" if self.model else ""


class Sample(Struct, frozen=True):
    """One value of one metric, or many by their size; the labels are in the metric's order."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Histogram


def after_answer(account: PodAccount, now_s: float) -> PodView:
    """Return the view once the pod has given an account."""
    return PodView(now_s, account.model, account.version, account)


def after_silence(view: PodView) -> PodView:
    """Return the view once the pod was asked in vain: its name stays, its numbers go."""
    return PodView(view.answered_s, view.model, view.version)


def samples(view: PodView, now_s: float) -> tuple[Sample, ...]:
    """Return what is true now; of a silent pod no numbers, for nothing would say that they are old."""
    pod = (view.model, view.version)
    account = view.account
    is_ready = account is not None and account.state is State.READY
    return (
        Sample(POD_UP, pod, float(is_ready)),
        *(_of_account(pod, account) if account else ()),
        Sample(SCRAPE_AGE_SECONDS, (), now_s - view.answered_s),
    )


def _of_account(pod: tuple[str, str], account: PodAccount) -> Iterator[Sample]:
    for state in State:
        yield Sample(POD_STATE, (*pod, state.value), float(account.state is state))
    yield Sample(QUEUE_ROWS, pod, float(account.queued_rows))
    yield Sample(RUNNING_ROWS, pod, float(account.running_rows))
    yield Sample(INFERENCE_RESTARTS, pod, float(account.restarts))
    yield Sample(OUTCOMES_DROPPED, pod, float(account.outcomes_dropped))
    if account.load_s > 0.0:
        yield Sample(MODEL_LOAD_SECONDS, (*pod, WHOLE_LOAD), account.load_s)


def log_samples(lines: Mapping[str, int], suppressed: int) -> Iterator[Sample]:
    """Yield what this sidecar's own log came to."""
    for level, count in lines.items():
        yield Sample(LOG_LINES, (level,), float(count))
    yield Sample(LOG_SUPPRESSED, (), float(suppressed))
