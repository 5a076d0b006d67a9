"""Decides which pods to start, stop and kill so that the running ones become the desired ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice

from deploy.local.restart import count_quick_deaths, pause_s
from gateway.control.desired_pods import DesiredPod
from model_pod.wire.status import PodState

# Pods that load at once share the processors: eleven on two cores were ready after 40 s instead of 3 s each.
LOADS_WITHIN_S = 20.0  # after this a pod that still loads keeps no other from its start
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
        awaited_archive: what it waits for, with a process or without one, and that has been said; "" for nothing.
    """

    pod: DesiredPod
    phase: Phase
    since_s: float
    quick_deaths: int = 0
    start_at_s: float = 0.0
    awaited_archive: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process for the pod."""

    pod: DesiredPod


@dataclass(frozen=True, slots=True)
class AwaitArchive:
    """Say that the pod's archive is missing, and remember that it was said.

    Attributes:
        meanwhile: the archive with which it goes on, "" when it does not run.
    """

    pod: DesiredPod
    meanwhile: str = ""


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
    states: Mapping[str, PodState],
    now_s: float,
    most_loading: int,
) -> list[Action]:
    """Return what to do now; nothing when all is as desired or everything that is not must wait.

    A pod whose config changed is drained before its successor starts: both have one address, and one device's
    memory may not hold both. The other pods of its version serve meanwhile, and have their turn after it. A pod whose
    new archive is missing goes on with the one it has.

    Args:
        desired: in the order in which they should start.
        archives: file names that are in the model store.
        states: of the pods in question, by name, as far as they are known; see ``in_question``.
        most_loading: how many pods may load at a time.
    """
    wanted = {pod.name: pod for pod in desired}
    possible = _possible(wanted, records, archives)
    replaceable = _replaceable(possible, records, states)
    actions: list[Action] = []
    for name, record in records.items():
        actions += _tend(record, possible.get(name), name in replaceable, now_s)
    for name, pod in wanted.items():
        actions += _say_missing(pod, possible[name], records.get(name), archives)
    turns = most_loading - sum(_loads(record, states, now_s) for record in records.values())
    return actions + list(islice(_starts(possible, records, archives, now_s), max(0, turns)))


def in_question(
    desired: Iterable[DesiredPod],
    records: Mapping[str, PodRecord],
    archives: Container[str],
    now_s: float,
    most_loading: int,
) -> list[DesiredPod]:
    """Return the running pods whose state decides what happens to others.

    Those of a version that is being replaced, and those that may still load while another waits for its turn.
    """
    possible = _possible({pod.name: pod for pod in desired}, records, archives)
    outdated = {_version(possible[name]) for name in _outdated(possible, records)}
    counts = Counter(map(_version, possible.values()))
    of_replaced = [name for name, pod in possible.items() if _version(pod) in outdated and counts[_version(pod)] > 1]
    loading = [name for name, record in records.items() if _loads(record, {}, now_s)]
    starts = sum(1 for _ in _starts(possible, records, archives, now_s))
    names = of_replaced + (loading if starts and len(loading) + starts > most_loading else [])
    return [records[name].pod for name in dict.fromkeys(names) if _runs(records.get(name))]


def _possible(
    wanted: Mapping[str, DesiredPod], records: Mapping[str, PodRecord], archives: Container[str]
) -> dict[str, DesiredPod]:
    """Return what can be had now: a pod whose archive is missing stays what it is, where it is something."""
    possible = dict(wanted)
    for name, pod in wanted.items():
        record = records.get(name)
        if record is not None and pod.archive not in archives and (_runs(record) or record.pod.archive in archives):
            possible[name] = record.pod
    return possible


def _loads(record: PodRecord, states: Mapping[str, PodState], now_s: float) -> bool:
    is_settled = states.get(record.pod.name) in (PodState.READY, PodState.FAILED)
    return _runs(record) and not is_settled and now_s < record.since_s + LOADS_WITHIN_S


def _replaceable(
    wanted: Mapping[str, DesiredPod], records: Mapping[str, PodRecord], states: Mapping[str, PodState]
) -> set[str]:
    """Return the outdated pods that may be stopped now: ready ones one at a time, while all others are ready."""
    chosen: set[str] = set()
    for name in _outdated(wanted, records):
        others = [pod.name for pod in wanted.values() if pod.name != name and _version(pod) == _version(wanted[name])]
        all_others_serve = all(
            _runs(records.get(other)) and states.get(other) is PodState.READY and other not in chosen
            for other in others
        )
        # One that is not ready serves nobody; its new config may be the cure.
        if not others or (name in states and (all_others_serve or states[name] is not PodState.READY)):
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


def _say_missing(
    wanted: DesiredPod, possible: DesiredPod, record: PodRecord | None, archives: Container[str]
) -> list[Action]:
    is_as_wanted = record is not None and _runs(record) and record.pod == wanted
    if wanted.archive in archives or is_as_wanted or (record is not None and record.phase is Phase.STOPPING):
        return []
    if record is not None and record.awaited_archive == wanted.archive:
        return []
    return [AwaitArchive(wanted, meanwhile=possible.archive if possible != wanted else "")]


def _starts(
    possible: Mapping[str, DesiredPod], records: Mapping[str, PodRecord], archives: Container[str], now_s: float
) -> Iterator[Start]:
    """Return the starts of pods that have no process, in the order in which they are due."""
    for name, pod in possible.items():
        record = records.get(name)
        if pod.archive not in archives or (record is not None and record.phase is not Phase.WAITING):
            continue
        # A new config is tried at once: it may be the very cure for what killed the pod before.
        if record is None or record.pod != pod or now_s >= record.start_at_s:
            yield Start(pod)


def started(pod: DesiredPod, record: PodRecord | None, now_s: float) -> PodRecord:
    """Return the record of a pod whose process has just been started."""
    if record is None or record.pod != pod:
        return PodRecord(pod, Phase.RUNNING, now_s)
    return PodRecord(pod, Phase.RUNNING, now_s, record.quick_deaths, awaited_archive=record.awaited_archive)


def awaiting(pod: DesiredPod, record: PodRecord | None, meanwhile: str, now_s: float) -> PodRecord:
    """Return the record of a pod whose archive is missing, and was said to be."""
    if record is not None and meanwhile:
        return replace(record, awaited_archive=pod.archive)
    return PodRecord(pod, Phase.WAITING, now_s, awaited_archive=pod.archive)


def stopping(record: PodRecord, now_s: float) -> PodRecord:
    """Return the record of a pod that was told to finish."""
    return replace(record, phase=Phase.STOPPING, since_s=now_s)


def died(record: PodRecord, now_s: float) -> PodRecord:
    """Return the record of a pod whose process ended, or could not be started, without being told to."""
    quick_deaths = count_quick_deaths(record.quick_deaths, now_s - record.since_s)
    start_at_s = now_s + pause_s(quick_deaths)
    return PodRecord(record.pod, Phase.WAITING, now_s, quick_deaths, start_at_s, record.awaited_archive)


def ended(record: PodRecord, now_s: float) -> PodRecord | None:
    """Return the record of a pod whose process ended; None when it was told to."""
    return None if record.phase is Phase.STOPPING else died(record, now_s)
