"""Decides what the pods are from what probes found: who is ready, who was ready once, and what is worth an event."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from gateway.control.desired import PodPlace
from gateway.control.messages import Pods, PodView
from model_pod.wire.status import PodState, PodStatus

# A pod whose server restarts answers late and not never: its listening socket stays open meanwhile.
TIME_OUTS_UNTIL_LOST = 2
SHOWN_CHARACTERS = 200
# The folders of a path, up to the name that ends it; "digits/1" is no path.
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\"]+/)*(?=[^\s/'\"])")


class Silence(Struct, frozen=True):
    """The pod did not answer a probe.

    Attributes:
        why: for people.
        timed_out: it may still be there; a refused connection is a plain no.
    """

    why: str
    timed_out: bool


class Foreign(Struct, frozen=True):
    """A server that is not ours answered on the path that was asked last; it is ready when that was 200."""

    is_ready: bool
    path: str = "/v2/health/ready"


Finding = PodStatus | Foreign | Silence


class PodRecord(Struct, frozen=True):
    """One pod as last seen.

    Attributes:
        status: its own account, None for a foreign server or before the first answer.
        message: why it is not ready, "" when it is.
        probed_s: monotonic seconds of the last probe, None before the first.
        time_outs: in a row.
    """

    place: PodPlace
    state: PodState = PodState.STARTING
    was_ready: bool = False
    status: PodStatus | None = None
    message: str = "not probed yet"
    probed_s: float | None = None
    time_outs: int = 0

    @property
    def view(self) -> PodView:
        """What workers are told."""
        place, message, link = self.place, "", 0
        if self.status is not None:
            message, link = shown(self.status.message), self.status.link
        return PodView(place.name, place.model, place.version, place.address, self.state, self.was_ready, message, link)


def shown(message: str) -> str:
    """Return what callers may read of a pod's message: short, and of each path only the name at its end."""
    text = _FOLDERS.sub("", " ".join(message.split()))
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


PodTable = dict[tuple[str, str], PodRecord]
"""Pods by (name, address)."""


def with_unresolved(table: PodTable, unresolved: Iterable[tuple[PodPlace, str]]) -> PodTable:
    """Return the table for people: with the pods whose name stands for no address, and why it does not."""
    shown_too = {
        (place.name, place.address): PodRecord(
            place, message=f"its name cannot be resolved: {why}" if why else "its name is being looked up"
        )
        for place, why in unresolved
    }
    return table | shown_too


def merge_places(table: PodTable, places: Iterable[PodPlace]) -> PodTable:
    """Return the table of a new generation; pods that stay keep what is known of them."""
    merged: PodTable = {}
    for place in places:
        key = (place.name, place.address)
        known = table.get(key)
        merged[key] = replace(known, place=place) if known is not None else PodRecord(place)
    return merged


def observe(record: PodRecord, finding: Finding, now_s: float) -> PodRecord:
    """Return the record after one probe."""
    if isinstance(finding, Silence):
        return _after_silence(record, finding, now_s)
    state, message, was_ready, status = PodState.READY, "", True, None
    match finding:
        # One that names no model serves whatever it is asked for.
        case PodStatus(model=model) if model and (model, finding.version) != (record.place.model, record.place.version):
            return _after_mistake(record, finding, now_s)
        case PodStatus():
            state, message, status = finding.state, finding.message, finding
            was_ready = record.was_ready or finding.was_ready or state is PodState.READY
        case Foreign(is_ready=False, path=path):
            state, message, was_ready = PodState.STARTING, f"{path} does not answer 200", record.was_ready
    return PodRecord(record.place, state, was_ready, status, message, now_s)


def _after_mistake(record: PodRecord, status: PodStatus, now_s: float) -> PodRecord:
    """Return the record of an address where another model or version is served: a request would be told 404 there."""
    place = record.place
    message = f"serves {status.model}/{status.version}, not {place.model}/{place.version}"
    account = replace(status, state=PodState.FAILED, message=message)
    return PodRecord(place, PodState.FAILED, record.was_ready, account, message, now_s)


def _after_silence(record: PodRecord, silence: Silence, now_s: float) -> PodRecord:
    time_outs = record.time_outs + 1 if silence.timed_out else TIME_OUTS_UNTIL_LOST
    probed = replace(record, probed_s=now_s, time_outs=time_outs)
    if time_outs < TIME_OUTS_UNTIL_LOST:
        return probed
    launch, message = record.place.launch, silence.why
    if launch is not None and not record.was_ready and not silence.timed_out:
        message = f"{message}: it is being started, or waits for {launch.archive} in the model store"
    return replace(probed, state=PodState.STARTING, status=None, message=message)


def event(before: PodRecord, after: PodRecord) -> str:
    """Return the sentence that this change is worth, "" for none."""
    name = f"pod {after.place.name}"
    if before.state == after.state:
        return f"{name}: {after.message}" if _fails_anew(before, after) else ""
    if after.state is PodState.READY:
        return f"{name} is ready{' again' if before.was_ready else ''}{_loaded(after)}"
    if after.state is PodState.FAILED:
        return f"{name} failed: {after.message}"
    if before.state is PodState.READY and after.status is None:
        return f"{name} is lost: {after.message}"
    if before.state is PodState.READY:
        return f"{name} is {after.state.value}: {after.message}" if after.message else f"{name} is {after.state.value}"
    return ""


def _fails_anew(before: PodRecord, after: PodRecord) -> bool:
    return after.state is PodState.FAILED and before.message != after.message


def _loaded(record: PodRecord) -> str:
    status = record.status
    return f" on {status.device}, loaded in {status.load_s:.1f} s" if status is not None and status.device else ""


def pods_message(table: PodTable, ready_once: Iterable[tuple[str, str]] = ()) -> Pods:
    """Return what workers are told of all pods."""
    return Pods(tuple(record.view for record in table.values()), tuple(ready_once))
