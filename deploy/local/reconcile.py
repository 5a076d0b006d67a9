"""Decides which pods to start, stop and kill so that the running ones become the desired ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from deploy.local.restart import count_quick_deaths, pause_s
from gateway.control.desired_pods import DesiredPod

DRAIN_WITHIN_S = 10.0  # what a pod gets to finish its requests after it was told to stop


class Phase(StrEnum):
    """Where a pod's process is."""

    WAITING = "waiting"  # there is none: its archive is missing, or it died and is started again later
    RUNNING = "running"
    STOPPING = "stopping"  # told to finish; killed when it takes too long


@dataclass(frozen=True, slots=True)
class PodRecord:
    """What is known of one pod.

    Attributes:
        pod: as it was asked for when its process was started, or when it began to wait.
        since_s: when the phase began (monotonic).
        quick_deaths: deaths in a row that came right after a start.
        start_at_s: not started before this moment (monotonic).
        archive_missing: it waits for its archive, and that has been said.
    """

    pod: DesiredPod
    phase: Phase
    since_s: float
    quick_deaths: int = 0
    start_at_s: float = 0.0
    archive_missing: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process for the pod."""

    pod: DesiredPod


@dataclass(frozen=True, slots=True)
class AwaitArchive:
    """Say that the pod's archive is missing, and remember that it was said."""

    pod: DesiredPod


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell the pod to finish; ``replaced`` when another with the same name and address follows it."""

    name: str
    replaced: bool


@dataclass(frozen=True, slots=True)
class Kill:
    """End a pod that did not finish in time."""

    name: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Drop the record of a pod that has no process and is no longer desired."""

    name: str


Action = Start | AwaitArchive | Stop | Kill | Forget


def reconcile(
    desired: Iterable[DesiredPod],
    records: Mapping[str, PodRecord],
    archives: Container[str],
    readiness: Mapping[str, bool],
    now_s: float,
) -> list[Action]:
    """Return what to do now; nothing when all is as desired or everything that is not must wait.

    A pod whose config changed is drained before its successor starts: both have one address, and one device's
    memory may not hold both. The other pods of its version serve meanwhile, and have their turn after it.

    Args:
        archives: file names that are in the model store.
        readiness: of the pods in question, by name, as far as it is known; see ``in_question``.
    """
    wanted = {pod.name: pod for pod in desired}
    replaceable = _replaceable(wanted, records, readiness)
    actions: list[Action] = []
    for name, record in records.items():
        actions += _tend(record, wanted.get(name), name in replaceable, now_s)
    for name, pod in wanted.items():
        actions += _begin(pod, records.get(name), archives, now_s)
    return actions


def in_question(desired: Iterable[DesiredPod], records: Mapping[str, PodRecord]) -> list[PodRecord]:
    """Return the running pods whose readiness decides when a pod of their version may be replaced."""
    wanted = {pod.name: pod for pod in desired}
    outdated = {_version(wanted[name]) for name in _outdated(wanted, records)}
    pods = [pod for pod in wanted.values() if _version(pod) in outdated]
    counts = Counter(map(_version, pods))
    return [records[pod.name] for pod in pods if counts[_version(pod)] > 1 and _runs(records.get(pod.name))]


def _replaceable(
    wanted: Mapping[str, DesiredPod], records: Mapping[str, PodRecord], readiness: Mapping[str, bool]
) -> set[str]:
    """Return the outdated pods that may be stopped now: ready ones one at a time, while all others are ready."""
    chosen: set[str] = set()
    for name in _outdated(wanted, records):
        others = [pod.name for pod in wanted.values() if pod.name != name and _version(pod) == _version(wanted[name])]
        all_others_serve = all(
            _runs(records.get(other)) and readiness.get(other, False) and other not in chosen for other in others
        )
        # One that is not ready serves nobody; its new config may be the cure.
        if not others or readiness.get(name) is False or (name in readiness and all_others_serve):
            chosen.add(name)
    return chosen


def _outdated(wanted: Mapping[str, DesiredPod], records: Mapping[str, PodRecord]) -> list[str]:
    return [name for name, record in records.items() if _runs(record) and wanted.get(name, record.pod) != record.pod]


def _runs(record: PodRecord | None) -> bool:
    return record is not None and record.phase is Phase.RUNNING


def _version(pod: DesiredPod) -> tuple[str, str]:
    return pod.model, pod.version


def _tend(record: PodRecord, wanted: DesiredPod | None, is_replaceable: bool, now_s: float) -> list[Action]:
    """Decide about a pod that exists."""
    name = record.pod.name
    if record.phase is Phase.RUNNING and (wanted is None or is_replaceable):
        same_address = wanted is not None and wanted.address == record.pod.address
        return [Stop(name, replaced=same_address)]
    if record.phase is Phase.STOPPING and now_s >= record.since_s + DRAIN_WITHIN_S:
        return [Kill(name)]
    if record.phase is Phase.WAITING and wanted is None:
        return [Forget(name)]
    return []


def _begin(pod: DesiredPod, record: PodRecord | None, archives: Container[str], now_s: float) -> list[Action]:
    """Decide about a desired pod that may have no process."""
    if record is not None and record.phase is not Phase.WAITING:
        return []
    known = record if record is not None and record.pod == pod else None
    if pod.archive not in archives:
        return [] if known is not None and known.archive_missing else [AwaitArchive(pod)]
    # A new config is tried at once: it may be the very cure for what killed the pod before.
    return [Start(pod)] if known is None or now_s >= known.start_at_s else []


def started(pod: DesiredPod, record: PodRecord | None, now_s: float) -> PodRecord:
    """Return the record of a pod whose process has just been started."""
    quick_deaths = record.quick_deaths if record is not None and record.pod == pod else 0
    return PodRecord(pod, Phase.RUNNING, now_s, quick_deaths)


def awaiting(pod: DesiredPod, now_s: float) -> PodRecord:
    """Return the record of a pod whose archive is missing."""
    return PodRecord(pod, Phase.WAITING, now_s, archive_missing=True)


def stopping(record: PodRecord, now_s: float) -> PodRecord:
    """Return the record of a pod that was told to finish."""
    return replace(record, phase=Phase.STOPPING, since_s=now_s)


def died(record: PodRecord, now_s: float) -> PodRecord:
    """Return the record of a pod whose process ended, or could not be started, without being told to."""
    quick_deaths = count_quick_deaths(record.quick_deaths, now_s - record.since_s)
    return PodRecord(record.pod, Phase.WAITING, now_s, quick_deaths, now_s + pause_s(quick_deaths))


def ended(record: PodRecord, now_s: float) -> PodRecord | None:
    """Return the record of a pod whose process ended; None when it was told to."""
    return None if record.phase is Phase.STOPPING else died(record, now_s)
