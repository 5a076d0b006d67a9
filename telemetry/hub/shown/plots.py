"""Decides how steps of time are drawn: curves with gaps, stacked columns, a map of how many took how long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from telemetry.hub.measured.answers import Mean, ModelSeries, Point, Summed
from telemetry.hub.measured.cells import Shown
from telemetry.hub.measured.fold import GATEWAY_WAIT, PARTS
from telemetry.hub.shown.axis import Bar, LogScale, Tick, bar, log_scale
from telemetry.hub.shown.formats import count, date, duration, moment, percent, rate, share

SIDE = 1000
"""Curves lie in a square of this side, which the browser stretches."""

HEAT_LEVELS = 5

_OVERLAP = 0.6
"""Columns overlap by less than a pixel: between neighbours that only touch browsers draw a hair."""

_TIMES = 5
_VALUES = 5
_STEPS = (1.0, 2.0, 5.0, 10.0, 20.0)
_HEAT_COLUMNS = 60
_LEAST_S, _MOST_S = 1e-4, 1e3
_DAY_S = 86400
_STAGE_OF_PART = {"gateway wait": "gateway", "pod queue": "queue"}

Values = Sequence[float | None]
"""One number for each step; None where nobody looked, or where there was nothing to measure."""


class Curve(Struct, frozen=True):
    """One line; ``pieces`` are the points of each piece, a gap lies between two."""

    kind: str
    text: str
    pieces: tuple[str, ...]


class Column(Struct, frozen=True):
    """One step, and what there was."""

    bar: Bar
    title: str


class Layer(Struct, frozen=True):
    """One colour of stacked columns, as an SVG path."""

    kind: str
    text: str
    path: str


class Dot(Struct, frozen=True):
    """One request whose trace is kept."""

    x: str
    y: str
    trace_id: str
    is_error: bool
    title: str


class Plot(Struct, frozen=True):
    """Steps of time from left to right.

    Attributes:
        gaps: where nobody looked.
        marks: values that mean something, such as an objective's threshold.
    """

    curves: tuple[Curve, ...] = ()
    layers: tuple[Layer, ...] = ()
    columns: tuple[Column, ...] = ()
    gaps: tuple[Bar, ...] = ()
    dots: tuple[Dot, ...] = ()
    marks: tuple[Tick, ...] = ()
    values: tuple[Tick, ...] = ()
    times: tuple[Tick, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to see."""
        return not any(curve.pieces for curve in self.curves) and not any(layer.path for layer in self.layers)


class _Frame(Struct, frozen=True):
    """The stretch of time that a plot shows."""

    starts: tuple[int, ...]
    step_s: int

    @property
    def from_s(self) -> float:
        return float(self.starts[0]) if self.starts else 0.0

    @property
    def whole_s(self) -> float:
        return float(self.step_s * max(1, len(self.starts)))

    def at(self, seconds: float) -> float:
        return (seconds - self.from_s) / self.whole_s

    def middle(self, index: int) -> float:
        return (index + 0.5) / max(1, len(self.starts))


def sparkline(values: Values) -> tuple[str, ...]:
    """Return the pieces of a line without axes, from nothing to the greatest value."""
    top = max((value for value in values if value is not None), default=0.0)
    return _pieces(values, lambda value: value / top if top else 0.0)


def durations(series: ModelSeries, thresholds: Mapping[str, float]) -> Plot:
    """Return percentiles over time with the thresholds of objectives and a dot for each kept trace."""
    frame = _frame(series.points, series.step_s)
    kinds = (("p50", "p50"), ("p95", "p95"), ("p99", "p99"))
    held = {kind: [_held(point, f"{kind}_s") for point in series.points] for kind, _ in kinds}
    known = [value for values in held.values() for value in values if value]
    dots = [one for one in series.exemplars if one.at_s >= frame.from_s]
    every = [*known, *(one.duration_s for one in dots), *thresholds.values()]
    bounded = [min(_MOST_S, max(_LEAST_S, value)) for value in every]
    scale = log_scale(min(bounded), max(bounded)) if bounded else log_scale(0.001, 1.0)
    return Plot(
        tuple(Curve(kind, text, _pieces(held[kind], lambda value: _at(value, scale))) for kind, text in kinds),
        columns=_columns(series.points, frame, _durations_title),
        gaps=_gaps(series.points, frame),
        dots=tuple(_dot(one, frame, scale) for one in dots),
        marks=tuple(
            Tick(percent(1 - _at(seconds, scale)), f"{name} {duration(seconds)}")
            for name, seconds in thresholds.items()
        ),
        values=tuple(Tick(percent(1 - at), duration(seconds)) for seconds, at in scale.ticks()),
        times=_times(frame),
    )


def _durations_title(summed: Summed) -> str:
    return f"p50 {duration(summed.p50_s)}, p95 {duration(summed.p95_s)}, p99 {duration(summed.p99_s)}"


def requests(points: Sequence[Point], step_s: int) -> Plot:
    """Return requests a second by class of their status, stacked."""
    classes = ("2xx", "3xx", "4xx", "5xx")
    held = [
        {each: point.summed.by_class.get(each, 0) / point.observed_s for each in classes} if point.summed else None
        for point in points
    ]
    return _stacked(points, step_s, held, classes, dict.fromkeys(classes, ""), rate, _requests_title)


def _requests_title(summed: Summed) -> str:
    return f"{rate(summed.requests_per_s)}, {share(summed.error_ratio)} errors, {count(summed.requests)} requests"


def errors(points: Sequence[Point], step_s: int) -> Plot:
    """Return the share of requests that failed."""
    held = [_held(point, "error_ratio") for point in points]
    top = max((value for value in held if value is not None), default=0.0) or 0.01
    frame = _frame(points, step_s)
    return Plot(
        (Curve("5xx", "errors", _pieces(held, lambda value: value / top)),),
        columns=_columns(points, frame, lambda summed: f"{share(summed.error_ratio)} of {count(summed.requests)}"),
        gaps=_gaps(points, frame),
        values=_value_ticks(top, share),
        times=_times(frame),
    )


def way(points: Sequence[Point], step_s: int) -> Plot:
    """Return how long each part of the way took on average, stacked: waiting apart from computing."""
    ways = [average_way(point.summed) if point.summed else None for point in points]
    held = [None if way is None else {part.name: part.mean_s for part in way} for way in ways]
    stages = {part: _STAGE_OF_PART.get(part, part) for part in PARTS}
    return _stacked(points, step_s, held, PARTS, stages, duration, _way_title)


def _way_title(summed: Summed) -> str:
    return ", ".join(f"{part.name} {duration(part.mean_s)}" for part in average_way(summed)) or "no data"


def average_way(summed: Summed) -> tuple[Mean, ...]:
    """Return the parts of an average request's way: what some waited in the gateway is shared by all."""
    parts = [
        replace(part, mean_s=part.total_s / max(summed.requests, part.count)) if part.name == GATEWAY_WAIT else part
        for part in summed.parts
    ]
    return in_order(parts)


def in_order(parts: Iterable[Mean]) -> tuple[Mean, ...]:
    """Return the parts in the order of the way; those that are not known to it come last."""
    rank = {name: place for place, name in enumerate(PARTS)}
    return tuple(sorted(parts, key=lambda part: (rank.get(part.name, len(rank)), part.name)))


class Fallen(Struct, frozen=True):
    """One part of the average way: where it lies on it."""

    mean: Mean
    stage: str
    bar: Bar


def fall(summed: Summed) -> tuple[Fallen, ...]:
    """Return the parts one after another, as an average request goes through them."""
    ordered = average_way(summed)
    whole_s = math.fsum(part.mean_s for part in ordered)
    found, begins_s = [], 0.0
    for part in ordered:
        found.append(Fallen(part, stage_of(part.name), bar(begins_s, part.mean_s, whole_s)))
        begins_s += part.mean_s
    return tuple(found)


def stage_of(part: str) -> str:
    """Return the colour of a part."""
    return _STAGE_OF_PART.get(part, part)


def days(points: Sequence[Point], step_s: int, of: Callable[[Summed], float], text: Callable[[float], str]) -> Plot:
    """Return a sum of each step as columns."""
    held = [{"sum": of(point.summed)} if point.summed else None for point in points]
    return _stacked(points, step_s, held, ("sum",), {"sum": "handler"}, text, lambda summed: text(of(summed)))


def heat(points: Sequence[Point], step_s: int) -> Plot:
    """Return how many requests took how long: the darker the more, on a scale of powers of ten."""
    held = [[(upper or lower, number) for lower, upper, number in point.took] for point in points]
    return _heat(points, step_s, held, duration)


def batch_heat(points: Sequence[Point], step_s: int) -> Plot:
    """Return how many batches had how many rows."""
    held = [
        [(upper or lower, number) for lower, upper, number in point.summed.batches] if point.summed else []
        for point in points
    ]
    return _heat(points, step_s, held, lambda rows: count(round(rows)))


def _heat(
    points: Sequence[Point], step_s: int, held: Sequence[Sequence[tuple[float, int]]], text: Callable[[float], str]
) -> Plot:
    frame = _frame(points, step_s)
    edges = sorted({edge for column in held for edge, _ in column})
    every = max(1, math.ceil(len(points) / _HEAT_COLUMNS))
    sums = [_summed_by_edge(held[at : at + every]) for at in range(0, len(points), every)]
    most = max((number for column in sums for number in column.values()), default=0)
    paths: dict[int, list[str]] = {}
    high = SIDE / max(1, len(edges))
    for place, column in enumerate(sums):
        left, width = place * every / len(points) * SIDE, min(every, len(points) - place * every) / len(points) * SIDE
        for row, edge in enumerate(edges):
            if number := column.get(edge, 0):
                level = max(1, math.ceil(HEAT_LEVELS * math.sqrt(number / most)))
                paths.setdefault(level, []).append(_rect(left, SIDE - (row + 1) * high, width, high))
    return Plot(
        layers=tuple(Layer(f"heat-{level}", "", "".join(paths[level])) for level in sorted(paths)),
        gaps=_gaps(points, frame),
        values=_edge_ticks(edges, text),
        times=_times(frame),
    )


def _summed_by_edge(columns: Iterable[Iterable[tuple[float, int]]]) -> dict[float, int]:
    found: dict[float, int] = {}
    for column in columns:
        for edge, number in column:
            found[edge] = found.get(edge, 0) + number
    return found


def _edge_ticks(edges: Sequence[float], text: Callable[[float], str]) -> tuple[Tick, ...]:
    every = math.ceil(len(edges) / 6) or 1
    return tuple(Tick(percent(1 - (row + 0.5) / len(edges)), text(edges[row])) for row in range(0, len(edges), every))


def _stacked(
    points: Sequence[Point],
    step_s: int,
    held: Sequence[Mapping[str, float] | None],
    kinds: Sequence[str],
    stages: Mapping[str, str],
    text: Callable[[float], str],
    title: Callable[[Summed], str],
) -> Plot:
    frame = _frame(points, step_s)
    top = max((math.fsum(each.values()) for each in held if each), default=0.0)
    layers = {kind: list[str]() for kind in kinds}
    width = SIDE / max(1, len(held))
    for place, each in enumerate(held):
        below = 0.0
        for kind in kinds:
            if each and top and (value := each.get(kind, 0.0)) > 0:
                below += value
                upper = SIDE * (1 - below / top)
                layers[kind].append(_rect(place * width, upper, width + _OVERLAP, SIDE * value / top))
    return Plot(
        layers=tuple(
            Layer(f"stage-{stages[kind]}" if stages[kind] else f"class-{kind}", kind, "".join(layers[kind]))
            for kind in kinds
            if layers[kind]
        ),
        columns=_columns(points, frame, title),
        gaps=_gaps(points, frame),
        values=_value_ticks(top, text) if top else (),
        times=_times(frame),
    )


def _rect(left: float, upper: float, width: float, high: float) -> str:
    return f"M{left:.1f} {upper:.1f}h{width:.1f}v{high:.1f}h{-width:.1f}z"


def _frame(points: Sequence[Point], step_s: int) -> _Frame:
    return _Frame(tuple(point.start_s for point in points), step_s)


def _held(point: Point, name: str) -> float | None:
    if point.summed is None:
        return None
    value: float | None = getattr(point.summed, name)
    return value


def _at(seconds: float, scale: LogScale) -> float:
    return min(1.0, max(0.0, scale.at(min(_MOST_S, max(_LEAST_S, seconds)))))


def _pieces(values: Values, height: Callable[[float], float]) -> tuple[str, ...]:
    """Return the line in pieces; a value that stands alone is a dash as wide as its step."""
    pieces: list[list[tuple[float, float]]] = []
    is_open = False
    for place, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        if not is_open:
            pieces.append([])
        pieces[-1].append(((place + 0.5) / len(values), 1 - height(value)))
        is_open = True
    return tuple(_line(piece, 0.5 / len(values)) for piece in pieces)


def _line(piece: Sequence[tuple[float, float]], half: float) -> str:
    corners = piece if len(piece) > 1 else [(piece[0][0] - half, piece[0][1]), (piece[0][0] + half, piece[0][1])]
    return " ".join(f"{x * SIDE:.1f},{y * SIDE:.1f}" for x, y in corners)


def _columns(points: Sequence[Point], frame: _Frame, title: Callable[[Summed], str]) -> tuple[Column, ...]:
    name = date if frame.step_s >= _DAY_S else moment
    return tuple(
        Column(
            bar(place, 1, len(points)),
            f"{name(point.start_s)}: {title(point.summed) if point.summed else 'no data: nobody read the counters'}",
        )
        for place, point in enumerate(points)
    )


def _gaps(points: Sequence[Point], frame: _Frame) -> tuple[Bar, ...]:
    """Return the stretches in which nobody looked, neighbours as one."""
    gaps: list[tuple[int, int]] = []
    for place, point in enumerate(points):
        if point.summed is None:
            if gaps and gaps[-1][1] == place:
                gaps[-1] = (gaps[-1][0], place + 1)
            else:
                gaps.append((place, place + 1))
    return tuple(bar(first, end - first, len(points)) for first, end in gaps)


def _dot(one: Shown, frame: _Frame, scale: LogScale) -> Dot:
    return Dot(
        percent(frame.at(one.at_s)),
        percent(1 - _at(one.duration_s, scale)),
        one.trace_id,
        one.code_class == "5xx",
        f"{moment(one.at_s)}: a {one.code_class} of {duration(one.duration_s)}; open its trace",
    )


def _value_ticks(top: float, text: Callable[[float], str]) -> tuple[Tick, ...]:
    """Return ticks at round values from 0 on, up to the greatest."""
    step = nice_step(top)
    reached = (index * step for index in range(1, int(top / step + 1e-9) + 1))
    return (Tick("100.000%", "0"), *(Tick(percent(1 - value / top), text(value)) for value in reached))


def nice_step(top: float) -> float:
    """Return a round length of which a few reach as far as a number."""
    scale = 10.0 ** math.floor(math.log10(top / _VALUES))
    return next(step * scale for step in _STEPS if top / (step * scale) <= _VALUES)


def _times(frame: _Frame) -> tuple[Tick, ...]:
    """Return moments along the axis; days where the steps are so long."""
    return tuple(
        Tick(percent(ratio), _when(frame.from_s + ratio * frame.whole_s, frame))
        for ratio in (index / (_TIMES - 1) for index in range(_TIMES))
    )


def _when(seconds: float, frame: _Frame) -> str:
    if frame.whole_s > 2 * _DAY_S:
        return date(seconds)[5:10]
    return moment(seconds)[:5]
