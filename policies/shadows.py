"""Each shadow is of another version, each comparison fits what it compares, and what is kept is kept for a while."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from policies import units
from policies.canaries import accepts_tokens, sticky_mistakes
from policies.errors import PolicyError, quoted
from policies.kinds import ROUTE, PolicyFile
from policies.mistakes import Mistake, placed
from policies.nodes import Mapping as MappingNode
from policies.nodes import Node, entry_of, find, text_of
from policies.quantities import quantity_at

# `DELETE /admin/shadows/MODEL/recordings` is no shadow's.
RECORDINGS: Final = "recordings"
# What is kept of requests is bounded on both ends: less is gone before anybody reads it.
SHORTEST_KEPT_S: Final = 60.0
LONGEST_KEPT_S: Final = 90 * 86400.0
_MIB: Final = 1024 * 1024
SMALLEST_RECORDING: Final = _MIB
# What is kept is read once when the copies process starts, at some 5 s for each GiB.
LARGEST_RECORDING: Final = 2 * 1024 * _MIB
LONGEST_DEADLINE_S: Final = 600.0


class _Measure(NamedTuple):
    """How one kind of output can be compared.

    Attributes:
        metrics: that fit it; "overlap@" stands for each N.
        threshold: what its own metric is held against; "" where nothing is.
        has_tolerance: its numbers may be a little apart.
    """

    metrics: tuple[str, ...]
    threshold: str
    has_tolerance: bool = False


_OVERLAP: Final = "overlap@"
_NUMBER: Final = _Measure(("abs", "rel", "cosine", "equal"), "differ_above", has_tolerance=True)
MEASURES: Final[Mapping[str, _Measure]] = {
    "label": _Measure(("equal",), ""),
    "number": _NUMBER,
    "float": _NUMBER,
    "probabilities": _Measure(("abs", "equal"), "differ_above"),
    "ranking": _Measure((_OVERLAP, "equal"), "differ_below"),
    "text": _Measure(("equal",), "differ_above"),
    "json": _Measure(("equal",), "differ_above", has_tolerance=True),
}
# Of a distance more is worse, of a likeness less is.
THRESHOLDS: Final[Mapping[str, str]] = {
    "equal": "",
    "abs": "differ_above",
    "rel": "differ_above",
    "cosine": "differ_below",
    _OVERLAP: "differ_below",
}
_SORTS: Final[Mapping[str, str]] = {"differ_above": "a distance", "differ_below": "a likeness"}


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every shadow, comparison, recording and feedback that could not mean what it says."""
    listed = list(files)
    has_issuer = accepts_tokens(listed)
    errors: list[PolicyError] = []
    for file in listed:
        if file.kind is ROUTE and file.root is not None:
            errors += [placed(file, mistake) for mistake in _mistakes(file.root, has_issuer)]
    return errors


def _mistakes(route: MappingNode, has_issuer: bool) -> Iterator[Mistake]:
    for found in find(route, "shadow[]"):
        if isinstance(found.node, MappingNode):
            yield from _identity(route, found.node)
            yield from sticky_mistakes(found.node, "sample_by", has_issuer=has_issuer)
            yield from _limits(found.node)
            yield from _verdict(found.node)
            for output in find(found.node, "compare.outputs[]"):
                yield from _output(output.node)
            yield from _kept(found.node, "privacy")
    yield from _kept(route, "record")
    yield from _recording(route)
    yield from _kept(route, "feedback")


def _identity(route: MappingNode, shadow: MappingNode) -> Iterator[Mistake]:
    stable, version = text_of(route, "stable"), entry_of(shadow, "version")
    if version and stable and text_of(shadow, "version") == stable:
        problem = f"the shadow is of version {quoted(stable)}, which is stable: it would be compared with itself"
        yield Mistake(version.value, problem, "Name another version, or remove the shadow.")
    name, canary = entry_of(shadow, "name"), entry_of(route, "canary")
    if name and text_of(shadow, "name") == RECORDINGS:
        problem = f"{quoted(RECORDINGS)} is what is recorded of a model: to forget the shadow would throw that away"
        yield Mistake(name.value, problem, "Give the shadow another name.")
    if name and canary and text_of(shadow, "name") == text_of(canary.value, "id"):
        # Both names salt who is drawn.
        problem = "the canary has this name as its id, and the two would draw the same requests"
        yield Mistake(name.value, problem, "Give one of them another name.")


def _limits(shadow: MappingNode) -> Iterator[Mistake]:
    limits = entry_of(shadow, "limits")
    names = ("device_time", "gpu_time")
    first, second = (entry_of(limits.value, name) if limits else None for name in names)
    if first and second:
        yield Mistake(second.key, "gpu_time is the same as device_time, and both are here", "Keep one of them.")
    for name in names:
        for node, share in quantity_at(limits.value, name, "time share") if limits else ():
            if share == 0:
                fix = "Write more, such as 1h/day, or remove the shadow."
                yield Mistake(node, f"{node.text} lets no copy run", fix)
    for node, length_s in quantity_at(shadow, "deadline", "duration"):
        if not 0 < length_s <= LONGEST_DEADLINE_S:
            problem = f"{node.text} is no time" if length_s == 0 else f"{node.text} is more than 10m"
            yield Mistake(node, problem, "Write more than 0s and at most 10m; 5s is usual.")


def _verdict(shadow: MappingNode) -> Iterator[Mistake]:
    for verdict in find(shadow, "compare.verdict"):
        for node, share in quantity_at(verdict.node, "worse_if_above_noise_by", "percent"):
            if share == 0:
                problem = "with 0%, no number of comparisons shows that two versions are the same"
                yield Mistake(node, problem, "Write more, such as 1%.")


def _output(output: Node) -> Iterator[Mistake]:
    kind, metric = text_of(output, "as"), text_of(output, "metric")
    measure = MEASURES.get(kind)
    if measure is None:
        return
    written = entry_of(output, "metric")
    family = _OVERLAP if metric.startswith(_OVERLAP) else metric
    if written and family in THRESHOLDS and family not in measure.metrics:
        fitting = [f"{name}10" if name == _OVERLAP else name for name in measure.metrics]
        fix = f"Write {' or '.join(fitting)}, or remove metric." if fitting else "Remove metric."
        yield Mistake(written.value, f"{metric} is no metric of a {kind}", fix)
        return
    yield from _threshold(output, metric or f"a {kind}", THRESHOLDS.get(family, measure.threshold))
    yield from _tolerance(output, kind, measure)


def _threshold(output: Node, what: str, wanted: str) -> Iterator[Mistake]:
    for name, sort in _SORTS.items():
        entry = entry_of(output, name)
        if entry and not wanted:
            yield Mistake(entry.key, f"{what} has no threshold, so {name} means nothing", "Remove it.")
        elif entry and name != wanted:
            problem = f"{name} is for {sort}, and {what} is compared by {_SORTS[wanted]}"
            yield Mistake(entry.key, problem, f"Write {wanted}.")


def _tolerance(output: Node, kind: str, measure: _Measure) -> Iterator[Mistake]:
    """A tolerance is a number's own measure, and part of that of JSON; any other takes its place."""
    is_measured = entry_of(output, "metric") or (kind != "json" and entry_of(output, "differ_above"))
    for name in ("atol", "rtol"):
        tolerance = entry_of(output, name)
        if tolerance and not measure.has_tolerance:
            problem = f"{name} is a tolerance of numbers, and this is a {kind}"
            yield Mistake(tolerance.key, problem, "Remove it, or compare it as: number.")
        elif tolerance and is_measured:
            problem = f"{name} decides nothing beside a metric or a threshold"
            yield Mistake(tolerance.key, problem, "Remove it, or the metric and the threshold.")


def _recording(route: MappingNode) -> Iterator[Mistake]:
    record = entry_of(route, "record")
    for node, size in quantity_at(record.value, "at_most", "size") if record else ():
        if not SMALLEST_RECORDING <= size <= LARGEST_RECORDING:
            smallest, largest = units.size_text(SMALLEST_RECORDING), units.size_text(LARGEST_RECORDING)
            is_small = size < SMALLEST_RECORDING
            problem = f"{node.text} is {'less than' if is_small else 'more than'} {smallest if is_small else largest}"
            yield Mistake(node, problem, f"Write {smallest} to {largest}; 64MiB is usual.")


def _kept(node: MappingNode, name: str) -> Iterator[Mistake]:
    """How long something is kept."""
    entry = entry_of(node, name)
    for scalar, length_s in quantity_at(entry.value, "for", "duration") if entry else ():
        if not SHORTEST_KEPT_S <= length_s <= LONGEST_KEPT_S:
            shortest, longest = units.duration_text(SHORTEST_KEPT_S), units.duration_text(LONGEST_KEPT_S)
            is_short = length_s < SHORTEST_KEPT_S
            problem = f"{scalar.text} is {'less than' if is_short else 'more than'} {shortest if is_short else longest}"
            yield Mistake(scalar, problem, f"Write {shortest} to {longest}.")
