"""Decides what the growth of the supervisor's and the sidecars' counters means to each model's version."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from telemetry.conventions import (
    BATCH_ROWS,
    CHARGED_DEVICE_SECONDS,
    INFERENCE_RESTARTS,
    LIMIT_OBSERVED,
    LIMIT_REFUSED,
    POD_ATTEMPTS,
    POD_EJECTIONS,
    POLICY_RELOADS,
    QUEUE_WAIT_SECONDS,
    REQUEST_DURATION_SECONDS,
    REQUEST_WAIT_SECONDS,
    REQUESTS,
    RETRIES,
    STAGE_DURATION_SECONDS,
    TELEMETRY_DROPPED,
    WORKER_RESTARTS,
    Metric,
)
from telemetry.hub.measured.cells import Cell, Part, Shown, added
from telemetry.hub.measured.growth import Grown, Growth, Key, Reading, names, reading
from telemetry.hub.measured.samples import samples
from telemetry.machine_conventions import DEVICE_BUSY_SECONDS

MOST_VERSIONS = 1000
"""Models' versions that a step tells apart; the others are one."""

GATEWAY_WAIT, POD_QUEUE = "gateway wait", "pod queue"
PARTS = (GATEWAY_WAIT, POD_QUEUE, "preprocess", "inference", "postprocess")
"""The parts of a request's way that counters tell of, in its order."""

OTHER = ("other", "")

WHOLE = ("", "*")
"""Stands for all versions together, so that nobody need add them up to draw the whole mesh."""

Version = tuple[str, str]
"""A model and its version; the latter is "" as far as it was not known."""

_GOOD = ("2xx", "3xx")


class Happened(Struct, frozen=True):
    """What a process told of an interval: by version, and of the whole mesh by what it is."""

    cells: dict[Version, Cell]
    mesh: dict[str, int]


class Wanted(Struct, frozen=True):
    """The metrics that are read of a process, each with its labels."""

    counters: dict[str, tuple[str, ...]]
    histograms: dict[str, tuple[str, ...]]

    def read(self, text: str, at_s: float, epoch: str) -> Reading:
        """Return what an exposition tells of them."""
        found = samples(text, names(self.counters, self.histograms))
        return reading(found, self.counters, self.histograms, at_s, epoch)


def _wanted(*metrics: Metric) -> Wanted:
    kinds: dict[str, dict[str, tuple[str, ...]]] = {"counter": {}, "histogram": {}}
    for metric in metrics:
        kinds[metric.kind][metric.name] = metric.labels
    return Wanted(kinds["counter"], kinds["histogram"])


OF_THE_SUPERVISOR = _wanted(
    REQUESTS,
    REQUEST_DURATION_SECONDS,
    REQUEST_WAIT_SECONDS,
    CHARGED_DEVICE_SECONDS,
    LIMIT_REFUSED,
    LIMIT_OBSERVED,
    RETRIES,
    POD_EJECTIONS,
    WORKER_RESTARTS,
    POLICY_RELOADS,
    TELEMETRY_DROPPED,
)
OF_A_SIDECAR = _wanted(
    QUEUE_WAIT_SECONDS, BATCH_ROWS, STAGE_DURATION_SECONDS, POD_ATTEMPTS, DEVICE_BUSY_SECONDS, INFERENCE_RESTARTS
)

_TOLD_OF_THE_MESH = {
    LIMIT_REFUSED.name: "refused by a limit",
    LIMIT_OBSERVED.name: "past an observed limit",
    RETRIES.name: "retries",
    POD_EJECTIONS.name: "pods left out",
    WORKER_RESTARTS.name: "worker restarts",
    POLICY_RELOADS.name: "policy files read",
    TELEMETRY_DROPPED.name: "telemetry dropped",
}
POD_RESTARTS = "inference restarts"
MESH_COUNTS = (*_TOLD_OF_THE_MESH.values(), POD_RESTARTS)


def of_the_supervisor(grown: Growth) -> Happened:
    """Return what requests came to; a metric of the whole mesh counts under its words, by its last label apart."""
    found: dict[Version, list[Cell]] = defaultdict(list)
    for key, held in grown.histograms.items():
        for version, cell in _of_a_histogram(key, held):
            found[version].append(cell)
    mesh: Counter[str] = Counter()
    for key, value in grown.counters.items():
        name, labels = key[0], key[1:]
        if name == REQUESTS.name and labels[4]:
            found[labels[0], labels[1]].append(Cell(reasons={labels[4]: round(value)}))
        elif name == CHARGED_DEVICE_SECONDS.name:
            found[labels[0], labels[1]].append(Cell(device_s=value))
        elif name in _TOLD_OF_THE_MESH:
            mesh[_TOLD_OF_THE_MESH[name]] += round(value)
    return Happened(few({version: added(cells) for version, cells in found.items()}), dict(mesh))


def of_a_pod(grown: Growth, now: Reading, seen_s: float) -> Happened:
    """Return what a pod did; ``seen_s`` is for how long its sidecar told of it."""
    found: dict[Version, list[Cell]] = defaultdict(list)
    for key in now.counters:
        if key[0] == DEVICE_BUSY_SECONDS.name:
            found[key[1], key[2]].append(Cell(pod_s=seen_s))
    for key, held in grown.histograms.items():
        for version, cell in _of_a_histogram(key, held):
            found[version].append(cell)
    restarts = 0
    for key, value in grown.counters.items():
        name, labels = key[0], key[1:]
        if name == DEVICE_BUSY_SECONDS.name:
            found[labels[0], labels[1]].append(Cell(busy_s=value))
        elif name == INFERENCE_RESTARTS.name:
            restarts += round(value)
    return Happened(
        {version: added(cells) for version, cells in found.items()}, {POD_RESTARTS: restarts} if restarts else {}
    )


def attempts(grown: Growth) -> dict[str, int]:
    """Return a pod's own answers by class: other ones than its version's where a request was tried twice."""
    counts: Counter[str] = Counter()
    for key, value in grown.counters.items():
        if key[0] == POD_ATTEMPTS.name:
            counts[key[3]] += round(value)
    return dict(counts)


def _of_a_histogram(key: Key, held: Grown) -> Iterator[tuple[Version, Cell]]:
    name, model, version = key[0], key[1], key[2]
    if name == REQUEST_DURATION_SECONDS.name:
        code_class = key[3]
        is_good = code_class in _GOOD
        shown = tuple(Shown(one.at_s, one.value, one.trace_id, code_class) for one in held.exemplars)
        yield (
            (model, version),
            Cell(
                by_class={code_class: held.count},
                took=held.buckets if is_good else (),
                took_s=held.total if is_good else 0.0,
                exemplars=shown,
            ),
        )
    elif name == REQUEST_WAIT_SECONDS.name:
        yield (model, ""), Cell(parts={GATEWAY_WAIT: Part(held.total, held.count)})
    elif name == QUEUE_WAIT_SECONDS.name:
        yield (model, version), Cell(parts={POD_QUEUE: Part(held.total, held.count)})
    elif name == STAGE_DURATION_SECONDS.name:
        yield (model, version), Cell(parts={key[3]: Part(held.total, held.count)})
    elif name == BATCH_ROWS.name:
        yield (model, version), Cell(batches=held.buckets)


def few(cells: Mapping[Version, Cell], most: int = MOST_VERSIONS) -> dict[Version, Cell]:
    """Return the busiest versions, and the others as one."""
    if len(cells) <= most:
        return dict(cells)
    ranked = sorted(cells, key=lambda version: (-cells[version].requests, version))
    kept = {version: cells[version] for version in ranked[:most]}
    return together([kept, {OTHER: added(cells[version] for version in ranked[most:])}])


def together(several: Iterable[Mapping[Version, Cell]]) -> dict[Version, Cell]:
    """Return the cells of several sources as one of each version."""
    found: dict[Version, list[Cell]] = defaultdict(list)
    for cells in several:
        for version, cell in cells.items():
            found[version].append(cell)
    return {version: added(each) for version, each in found.items()}
