"""Counts what a pod's records say, every one of them, before any is left out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from telemetry.conventions import (
    BATCH_ROWS,
    COPY_DEVICE_SECONDS,
    DEVICE_SECONDS,
    MODEL_LOAD_SECONDS,
    POD_ATTEMPTS,
    POD_COPIES,
    QUEUE_WAIT_SECONDS,
    STAGE_DURATION_SECONDS,
    Metric,
)
from telemetry.records import Frame, PodBatch, PodLoad, PodRequest, Record, Source
from telemetry.sidecar.histogram import LATENCY_EDGES_S, ROW_EDGES, Exemplar, Histogram
from telemetry.sidecar.samples import Sample

PODS = 16
"""A sidecar has one pod; versions that its socket tells of beyond this are counted as one."""
TENANTS = 100
REASONS = 64
SHADOWS = 64
OTHER = "other"

Labels = tuple[str, ...]
Name = TypeVar("Name", bound=Hashable)
Measure = tuple[Metric, Labels, float]

_EDGES = {QUEUE_WAIT_SECONDS: LATENCY_EDGES_S, BATCH_ROWS: ROW_EDGES, STAGE_DURATION_SECONDS: LATENCY_EDGES_S}


class Counting:
    """What the records of a sidecar's pod add up to."""

    def __init__(self) -> None:
        self._pods: _Bounded[tuple[str, str]] = _Bounded(PODS, (OTHER, OTHER))
        self._tenants = _Bounded(TENANTS, OTHER)
        self._reasons = _Bounded(REASONS, OTHER)
        self._attempts: defaultdict[Labels, int] = defaultdict(int)
        self._shadows = _Bounded(SHADOWS, OTHER)
        self._copies: defaultdict[Labels, int] = defaultdict(int)
        self._copy_device_s: defaultdict[Labels, float] = defaultdict(float)
        self._device_s: defaultdict[Labels, float] = defaultdict(float)
        self._load_s: dict[Labels, float] = {}
        self._histograms: dict[Metric, dict[Labels, Histogram]] = {metric: {} for metric in _EDGES}

    def count(self, source: Source, record: Record) -> None:
        """Count one record."""
        pod = self._pods.known((source.model, source.version))
        match record:
            case PodRequest():
                self._count_request(pod, record)
            case PodLoad(message=""):
                self._load_s[*pod, "handler"] = record.handler_s
                self._load_s[*pod, "process"] = max(0.0, record.ended_s - record.started_s - record.handler_s)
        for metric, labels, value in _measures(pod, record):
            self._histogram(metric, labels).add(value)

    def show(self, frame: Frame, record: Record) -> None:
        """Let a record that is kept stand for its values; a trace that nobody has would show nothing."""
        pod = self._pods.known((frame.source.model, frame.source.version))
        for metric, labels, value in _measures(pod, record):
            self._histogram(metric, labels).show(_exemplar(frame, record, value))

    def samples(self) -> Iterator[Sample]:
        """Yield what was counted, by metric."""
        yield from (Sample(MODEL_LOAD_SECONDS, labels, value) for labels, value in self._load_s.items())
        yield from (Sample(POD_ATTEMPTS, labels, float(count)) for labels, count in self._attempts.items())
        yield from (Sample(POD_COPIES, labels, float(count)) for labels, count in self._copies.items())
        for metric, of_labels in self._histograms.items():
            yield from (Sample(metric, labels, histogram) for labels, histogram in of_labels.items())
        yield from (Sample(DEVICE_SECONDS, labels, value) for labels, value in self._device_s.items())
        yield from (Sample(COPY_DEVICE_SECONDS, labels, value) for labels, value in self._copy_device_s.items())

    def _count_request(self, pod: Labels, record: PodRequest) -> None:
        outcome = (f"{record.status // 100}xx", self._reasons.known(record.reason))
        device_s = [part.device_us / 1e6 for part in record.parts if part.batch is not None]
        if record.shadow:
            shadow = self._shadows.known(record.shadow)
            self._copies[*pod, shadow, *outcome] += 1
            if device_s:
                self._copy_device_s[*pod, shadow] += sum(device_s)
            return
        self._attempts[*pod, *outcome] += 1
        tenant = self._tenants.known(record.tenant)
        if device_s:
            self._device_s[*pod, tenant] += sum(device_s)

    def _histogram(self, metric: Metric, labels: Labels) -> Histogram:
        of_labels = self._histograms[metric]
        if labels not in of_labels:
            of_labels[labels] = Histogram(_EDGES[metric])
        return of_labels[labels]


class _Bounded(Generic[Name]):
    """Names as they first come; those beyond the bound are one."""

    def __init__(self, bound: int, other: Name) -> None:
        self._bound = bound
        self._other = other
        self._names: set[Name] = set()

    def known(self, name: Name) -> Name:
        """Return the name to count under."""
        if name not in self._names:
            if len(self._names) >= self._bound:
                return self._other
            self._names.add(name)
        return name


def _measures(pod: Labels, record: Record) -> Iterator[Measure]:
    match record:
        case PodRequest():
            for part in record.parts:
                until_s = record.ended_s if part.batch is None else part.batch.sent_s
                yield QUEUE_WAIT_SECONDS, pod, max(0.0, until_s - part.enqueued_s)
        case PodBatch(times=times):
            yield BATCH_ROWS, pod, float(times.row_count)
            if times.ended_s:
                yield STAGE_DURATION_SECONDS, (*pod, "preprocess"), times.preprocess_s
                yield STAGE_DURATION_SECONDS, (*pod, "inference"), times.inference_s
                yield STAGE_DURATION_SECONDS, (*pod, "postprocess"), times.postprocess_s


def _exemplar(frame: Frame, record: Record, value: float) -> Exemplar:
    if isinstance(record, PodBatch):
        trace_id, moment_s = record.times.trace_id, record.times.sent_s
    else:
        trace_id, moment_s = record.trace_id, record.ended_s
    return Exemplar(trace_id, value, frame.wall_offset_ns * 1e-9 + moment_s)
