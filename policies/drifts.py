"""How a model's inputs and outputs are watched: what a route says of it, checked, compiled, told when it changes."""

from collections.abc import Iterable, Iterator
from typing import Final

from policies import units
from policies.errors import PolicyError, quoted
from policies.kinds import ROUTE, PolicyFile
from policies.mistakes import Mistake, placed
from policies.nodes import Mapping, Node, Scalar, entry_of, find, text_of
from policies.quantities import quantity_at
from policies.schema.watching import DriftWritten, WatchedWritten
from policies.snapshot.watching import Drift, Watched
from policies.wording import ABSENT, changed, duration_text

SHORTEST_WINDOW_S: Final = 5.0
LONGEST_WINDOW_S: Final = 86_400.0
# Of a reference's windows so many are kept, and as many of the latest.
WINDOWS_KEPT: Final = 72
_USUAL: Final = Drift(0.0)


def drift(written: DriftWritten) -> Drift:
    """How inputs and outputs are watched."""
    reference = written.reference
    length = reference.for_ if reference else None
    return Drift(
        sample=units.fraction(written.sample),
        inputs=_USUAL.inputs if written.inputs is None else tuple(map(_watched, written.inputs)),
        outputs=_USUAL.outputs if written.outputs is None else tuple(map(_watched, written.outputs)),
        reference=(reference.version if reference else None) or _USUAL.reference,
        reference_s=_USUAL.reference_s if length is None else units.duration_s(length),
        window_s=_USUAL.window_s if written.window is None else units.duration_s(written.window),
        alert_above=_USUAL.alert_above if written.alert_above is None else written.alert_above,
    )


def _watched(written: WatchedWritten) -> Watched:
    return Watched(written.path or "", written.at_least, written.at_most, tuple(sorted(set(written.classes or ()))))


def drift_changes(subject: str, before: Drift | None, after: Drift | None) -> Iterator[str]:
    """Every difference in what is watched, and in what it is compared with."""
    if before is None and after is not None:
        sample = units.percent_text(after.sample)
        out, into = _parts_text(after.outputs), _parts_text(after.inputs)
        yield f"{subject}: drift added: {sample} of rows, {into} in, {out} out"
    elif before is not None and after is None:
        yield f"{subject}: drift removed"
    elif before is not None and after is not None:
        drift = f"{subject}: drift"
        yield from changed(drift, "sample", units.percent_text(before.sample), units.percent_text(after.sample))
        yield from changed(drift, "inputs", _parts_text(before.inputs), _parts_text(after.inputs))
        yield from changed(drift, "outputs", _parts_text(before.outputs), _parts_text(after.outputs))
        yield from changed(drift, "reference", _reference_text(before), _reference_text(after))
        yield from changed(drift, "window", duration_text(before.window_s), duration_text(after.window_s))
        yield from changed(drift, "alert_above", f"{before.alert_above:g}", f"{after.alert_above:g}")


def _parts_text(parts: tuple[Watched, ...]) -> str:
    return " and ".join(_part_text(part) for part in parts) or ABSENT


def _part_text(part: Watched) -> str:
    bounds = [
        f"{word} {bound:g}" for word, bound in (("from", part.at_least), ("to", part.at_most)) if bound is not None
    ]
    classes = [f"classes {', '.join(part.classes)}"] if part.classes else []
    return " ".join([part.path or "all", *bounds, *classes])


def _reference_text(one: Drift) -> str:
    return f"{units.duration_text(one.reference_s)} of {one.reference or 'each version'}"


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every way of watching that could not mean what it says."""
    errors: list[PolicyError] = []
    for file in files:
        if file.kind is ROUTE and file.root is not None:
            for found in find(file.root, "drift"):
                errors += [placed(file, mistake) for mistake in _mistakes(found.node)]
    return errors


def _mistakes(drift: Node) -> Iterator[Mistake]:
    if not isinstance(drift, Mapping):
        return
    for node, share in quantity_at(drift, "sample", "percent"):
        if share == 0:
            yield Mistake(node, f"{node.text} watches no row", "Write more, such as 1%, or remove drift.")
    window_s = _USUAL.window_s
    for node, window_s in quantity_at(drift, "window", "duration"):
        if not SHORTEST_WINDOW_S <= window_s <= LONGEST_WINDOW_S:
            word = "less than 5s" if window_s < SHORTEST_WINDOW_S else "more than 1d"
            yield Mistake(node, f"{node.text} is {word}", "Write 5s to 1d; 1h is usual.")
            return
    yield from _reference(drift, window_s)
    for side in ("inputs", "outputs"):
        yield from _repeated([found.node for found in find(drift, f"{side}[]")])


def _reference(drift: Mapping, window_s: float) -> Iterator[Mistake]:
    reference = entry_of(drift, "reference")
    written = list(quantity_at(reference.value, "for", "duration")) if reference else []
    shortest, longest = units.duration_text(window_s), units.duration_text(window_s * WINDOWS_KEPT)
    for node, length_s in written:
        if not window_s <= length_s <= window_s * WINDOWS_KEPT:
            problem = f"{node.text} is not from one window to {WINDOWS_KEPT} of them"
            yield Mistake(node, problem, f"Write {shortest} to {longest}.")
    window = entry_of(drift, "window")
    usual_s = _USUAL.reference_s
    if window and not written and not window_s <= usual_s <= window_s * WINDOWS_KEPT:
        problem = f"the reference is {units.duration_text(usual_s)}, which is more than {WINDOWS_KEPT} such windows"
        yield Mistake(window.value, problem, f"Write reference: {{for: {longest}}} beside it, or less.")


def _repeated(parts: list[Node]) -> Iterator[Mistake]:
    seen: set[str] = set()
    for part in parts:
        path = text_of(part, "path")
        if path in seen:
            yield Mistake(part, f"{quoted(path) if path else 'all of it'} is here twice", "Keep one of them.")
        seen.add(path)
        least, most = (_number(part, key) for key in ("at_least", "at_most"))
        entry = entry_of(part, "at_most")
        if entry and least is not None and most is not None and most < least:
            problem = f"no number is at least {least:g} and at most {most:g}"
            yield Mistake(entry.value, problem, f"Write {least:g} or more.")


def _number(part: Node, key: str) -> float | None:
    entry = entry_of(part, key)
    value = entry.value.value if entry and isinstance(entry.value, Scalar) else None
    return float(value) if isinstance(value, int | float) else None
