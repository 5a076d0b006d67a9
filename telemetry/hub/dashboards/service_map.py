"""Decides what the map of services holds: gateway, models, versions and pods, and what goes from each to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from msgspec import Struct

from telemetry.hub.dashboards.known import models
from telemetry.hub.measured.answers import Measured, Of, PodSum
from telemetry.hub.shown.answers import Overview, Pod

MODELS_OF_A_PAGE = 20
PODS_SHOWN = 8
"""Pods of a version that are drawn; of more the others are one. A map of one model draws them all."""

MOST_PODS = 200


class Edge(Struct, frozen=True):
    """What goes from one to the next. What is None was not measured, or there was nothing.

    Attributes:
        p95_s: of answers below 400; on an edge to a pod, of how long its batches were at inference.
    """

    requests_per_s: float | None
    error_ratio: float | None
    p95_s: float | None


class MapPod(Struct, frozen=True):
    """A pod, or several of them where ``folded`` is not 0."""

    name: str
    state: str
    edge: Edge
    folded: int = 0


class MapVersion(Struct, frozen=True):
    """A version, and its pods."""

    version: str
    edge: Edge
    pods: tuple[MapPod, ...]
    ready: int
    pod_count: int


class MapModel(Struct, frozen=True):
    """A model, and its versions."""

    model: str
    edge: Edge
    versions: tuple[MapVersion, ...]


class ServiceMap(Struct, frozen=True):
    """The answer of ``/api/map``; pages count from 1."""

    mesh: str
    span: str
    whole: Edge
    models: tuple[MapModel, ...]
    model_count: int
    page: int
    page_count: int
    model: str = ""
    error: str = ""


NO_EDGE = Edge(None, None, None)


def service_map(overview: Overview, measured: Measured, page: int, model: str = "") -> ServiceMap:
    """Return a page of the models by name, or one model with all of its pods; a page that is not there is the last."""
    names = sorted({one.model for one in measured.models} | models(overview))
    if model:
        names = [name for name in names if name == model]
    page_count = max(1, -(-len(names) // MODELS_OF_A_PAGE))
    page = min(max(1, page), page_count)
    shown = names[(page - 1) * MODELS_OF_A_PAGE : page * MODELS_OF_A_PAGE]
    by_model = {one.model: one for one in measured.models}
    most_pods = MOST_PODS if model else PODS_SHOWN
    return ServiceMap(
        overview.mesh,
        measured.span,
        edge_of(measured.whole),
        tuple(_model(name, by_model.get(name), overview, measured, most_pods) for name in shown),
        len(names),
        page,
        page_count,
        model,
        overview.error or measured.error,
    )


def edge_of(one: Of | None) -> Edge:
    """Return what goes to a model or version."""
    if one is None:
        return NO_EDGE
    return Edge(one.summed.requests_per_s, one.summed.error_ratio, one.summed.p95_s)


def _model(name: str, of: Of | None, overview: Overview, measured: Measured, most_pods: int) -> MapModel:
    versions = {one.version: one for one in measured.versions if one.model == name and one.version}
    pods = [pod for pod in overview.pods if pod.model == name]
    each = sorted(versions.keys() | {pod.version for pod in pods}, key=_by_number)
    sums = {one.pod: one for one in measured.pods}
    return MapModel(
        name,
        edge_of(of),
        tuple(
            _version(version, versions.get(version), [pod for pod in pods if pod.version == version], sums, most_pods)
            for version in each
        ),
    )


def _by_number(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isascii() and version.isdigit() else (2**31, version)


def _version(version: str, of: Of | None, pods: list[Pod], sums: dict[str, PodSum], most_pods: int) -> MapVersion:
    ranked = sorted(pods, key=lambda pod: (pod.state == "ready", pod.name))
    shown = ranked if len(ranked) <= most_pods else ranked[: most_pods - 1]
    drawn = [MapPod(pod.name, pod.state, _pod_edge(sums.get(pod.name))) for pod in shown]
    if len(shown) < len(ranked):
        drawn.append(_folded(ranked[len(shown) :], sums))
    ready = sum(pod.state == "ready" for pod in pods)
    return MapVersion(version, edge_of(of), tuple(drawn), ready, len(pods))


def _pod_edge(found: PodSum | None) -> Edge:
    return NO_EDGE if found is None else Edge(found.requests_per_s, found.error_ratio, found.inference_p95_s)


def _folded(pods: Iterable[Pod], sums: dict[str, PodSum]) -> MapPod:
    """Return several pods as one: their rates add up, and of the others nothing does."""
    several = list(pods)
    known = [sums[pod.name] for pod in several if pod.name in sums]
    rates = [one.requests_per_s for one in known if one.requests_per_s is not None]
    answers = sum(sum(one.by_class.values()) for one in known)
    failed = sum(one.by_class.get("5xx", 0) for one in known)
    states = Counter(pod.state for pod in several)
    state = ", ".join(f"{count} {name}" for name, count in sorted(states.items()))
    edge = Edge(sum(rates) if rates else None, failed / answers if answers else None, None)
    return MapPod(f"{len(several)} more pods", state, edge, len(several))
