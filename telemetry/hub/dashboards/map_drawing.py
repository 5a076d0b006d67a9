"""Decides where the nodes and edges of the map of services lie, from left to right: gateway, models, versions, pods."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from telemetry.hub.dashboards.service_map import Edge, MapModel, MapVersion, ServiceMap
from telemetry.hub.shown.formats import duration, path_segment, rate, share

NODE_WIDTH, NODE_HEIGHT = 150, 26
ROW = 40
_BETWEEN = 205
_COLUMN = NODE_WIDTH + _BETWEEN
_MARGIN = 8
_CHARACTERS = 20
WIDTH = 3 * _COLUMN + NODE_WIDTH + 2 * _MARGIN
_LOW_ERRORS, _BAD_ERRORS = 0.0, 0.01


class Node(Struct, frozen=True):
    """One box; ``y`` is its middle."""

    kind: str
    x: int
    y: float
    text: str
    title: str
    href: str
    state: str


class Line(Struct, frozen=True):
    """One edge, as an SVG path, and what goes along it.

    Attributes:
        level: how to colour it: none where nothing was measured, idle, good, low or bad by its share of errors.
    """

    path: str
    level: str
    width: float
    text: str
    text_x: float
    text_y: float
    title: str


class Drawing(Struct, frozen=True):
    """The whole map; its boxes come in the order in which a keyboard goes through them."""

    height: float
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]


def drawing(shown: ServiceMap) -> Drawing:
    """Return the map; each leaf has a row of its own, and what is above lies in the middle of its leaves."""
    rows = sum(_rows(model) for model in shown.models)
    height = max(1, rows) * ROW + 2 * _MARGIN
    gateway_y = height / 2
    nodes: list[Node] = [_node("gateway", 0, gateway_y, shown.mesh or "gateway", "/red", "ready")]
    lines: list[Line] = []
    above = _MARGIN
    for model in shown.models:
        for node, edge, from_y, name in _of_model(model, above, gateway_y):
            nodes.append(node)
            lines.append(_line(edge, node, from_y, name))
        above += _rows(model) * ROW
    return Drawing(height, tuple(nodes), tuple(lines))


def _rows(model: MapModel) -> int:
    return sum(max(1, len(version.pods)) for version in model.versions) or 1


def _of_model(model: MapModel, above: float, gateway_y: float) -> Iterator[tuple[Node, Edge, float, str]]:
    """Yield each node of a model with the edge that leads to it, and where that begins."""
    model_y = above + _rows(model) * ROW / 2
    segment = path_segment(model.model)
    state = "ready" if all(version.ready == version.pod_count for version in model.versions) else "short"
    yield _node("model", 1, model_y, model.model, f"/red/{segment}", state), model.edge, gateway_y, model.model
    for version in model.versions:
        rows = max(1, len(version.pods))
        version_y = above + rows * ROW / 2
        href = f"/debug/{segment}?version={path_segment(version.version)}"
        node = _node("version", 2, version_y, f"version {version.version}", href, _state(version))
        yield node, version.edge, model_y, f"{model.model}/{version.version}"
        for row, pod in enumerate(version.pods):
            to = f"/map?model={segment}" if pod.folded else f"/debug/{segment}?pod={path_segment(pod.name)}"
            y = above + (row + 0.5) * ROW
            pod_state = "ready" if pod.state == "ready" else "short"
            yield _node("pod", 3, y, pod.name, to, pod_state), pod.edge, version_y, pod.name
        above += rows * ROW


def _state(version: MapVersion) -> str:
    return "ready" if version.ready == version.pod_count else "short"


def _node(kind: str, column: int, y: float, text: str, href: str, state: str) -> Node:
    short = text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"
    return Node(kind, _MARGIN + column * _COLUMN, y, short, text, href, state)


def _line(edge: Edge, to: Node, from_y: float, name: str) -> Line:
    start_x, end_x = to.x - _BETWEEN, to.x
    bend = start_x + 28
    path = f"M{start_x} {from_y:.1f}C{bend} {from_y:.1f} {start_x + 4} {to.y:.1f} {start_x + 36} {to.y:.1f}H{end_x}"
    text = edge_text(edge)
    return Line(path, level_of(edge), width_of(edge), text, end_x - 6, to.y - 5, f"to {name}: {text}")


def edge_text(edge: Edge) -> str:
    """Return what goes along an edge, in words as short as they can be."""
    if edge.requests_per_s is None:
        return "no data"
    if not edge.requests_per_s:
        return "0/s"
    p95 = f" · {duration(edge.p95_s)}" if edge.p95_s is not None else ""
    return f"{rate(edge.requests_per_s)} · {share(edge.error_ratio)}{p95}"


def level_of(edge: Edge) -> str:
    """Return how to colour an edge."""
    if edge.requests_per_s is None:
        return "none"
    if not edge.requests_per_s:
        return "idle"
    errors = edge.error_ratio or 0.0
    return "bad" if errors >= _BAD_ERRORS else "low" if errors > _LOW_ERRORS else "good"


def width_of(edge: Edge) -> float:
    """Return how wide an edge is: by the power of ten of its rate, between a hair and a finger."""
    found = edge.requests_per_s or 0.0
    return next((width for least, width in ((1000, 6.0), (100, 4.5), (10, 3.2), (1, 2.2)) if found >= least), 1.4)
