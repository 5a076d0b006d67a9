"""Decides what the debug dashboard of a model holds: where its time goes, what its pods do, how its versions differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from telemetry.hub.dashboards.known import commonest, models
from telemetry.hub.measured.answers import Measured, ModelSeries, Of, PodSum
from telemetry.hub.shown.answers import Objective, Overview, Pod
from telemetry.hub.summary import Summary

MOST_PODS = 100
TRACES = 10
MOST_REASONS = 10


class PodLine(Struct, frozen=True):
    """One pod: as the supervisor sees it, and what its sidecar counted in the last five minutes."""

    pod: Pod
    summed: PodSum | None


class VersionLine(Struct, frozen=True):
    """How a version is run.

    Attributes:
        archives, devices: of its pods, as policy wants them; empty for pods that somebody else runs.
        differs: the names of what is not as in every other version.
    """

    version: str
    of: Of | None
    pod_count: int
    archives: tuple[str, ...]
    devices: tuple[str, ...]
    differs: tuple[str, ...]


class Debug(Struct, frozen=True):
    """The answer of ``/api/debug/{model}``.

    Attributes:
        version, pod: what it was narrowed to; "" for all.
        failed, slow: traces that are kept, the newest first.
        reasons: refusals and failures, the most frequent first.
        reasons_left_out: requests whose reasons are not among them.
    """

    model: str
    version: str
    pod: str
    series: ModelSeries
    versions: tuple[VersionLine, ...]
    pods: tuple[PodLine, ...]
    pods_left_out: int
    reasons: tuple[tuple[str, int], ...]
    reasons_left_out: int
    failed: tuple[Summary, ...]
    slow: tuple[Summary, ...]
    objectives: tuple[Objective, ...]
    error: str = ""


def debug(
    overview: Overview,
    measured: Measured,
    series: ModelSeries,
    failed: Sequence[Summary],
    slow: Sequence[Summary],
    pod: str = "",
) -> Debug:
    """Return the dashboard of the model that the series is of."""
    model, version = series.model, series.version
    sums = {one.pod: one for one in measured.pods}
    mine = [one for one in overview.pods if one.model == model and version in ("", one.version)]
    shown = [one for one in mine if pod in ("", one.name)]
    return Debug(
        model,
        version,
        pod,
        series,
        version_lines(
            [one for one in measured.versions if one.model == model and one.version],
            [one for one in overview.pods if one.model == model],
        ),
        tuple(PodLine(one, sums.get(one.name)) for one in shown[:MOST_PODS]),
        max(0, len(shown) - MOST_PODS),
        *commonest(series.summed.reasons, MOST_REASONS),
        tuple(failed[:TRACES]),
        tuple(slow[:TRACES]),
        tuple(slo for slo in overview.slos if slo.model == model),
        overview.error or series.error,
    )


def is_known(overview: Overview, series: ModelSeries) -> bool:
    """Whether the mesh has the model, or had requests for it in the span."""
    return series.model in models(overview) or series.summed.requests > 0


def version_lines(versions: Iterable[Of], pods: Sequence[Pod]) -> tuple[VersionLine, ...]:
    """Return how each version is run, and what of it is not as in all others."""
    by_version = {one.version: one for one in versions}
    names = sorted(by_version.keys() | {pod.version for pod in pods})
    of = {name: [pod for pod in pods if pod.version == name] for name in names}
    archives = {name: _distinct(pod.archive for pod in of[name]) for name in names}
    devices = {name: _distinct(pod.device_wanted or pod.device or "" for pod in of[name]) for name in names}
    values: dict[str, set[tuple[str, ...]]] = {
        "archive": set(archives.values()),
        "device": set(devices.values()),
        "pods": {(str(len(each)),) for each in of.values()},
    }
    unlike = tuple(what for what, held in values.items() if len(held) > 1)
    return tuple(
        VersionLine(name, by_version.get(name), len(of[name]), archives[name], devices[name], unlike) for name in names
    )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({text for text in texts if text}))
