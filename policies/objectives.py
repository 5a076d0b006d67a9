"""What an objective asks can happen: its budget is something, its windows hold something, its alerts can fire."""

from collections.abc import Collection, Iterable, Iterator
from fractions import Fraction
from typing import Final

from policies import units
from policies.burn_alerts import FINEST_SLOT_S, SHORTEST_LIKELY_S, SHORTEST_WINDOW_SLOTS, unreachable
from policies.errors import PolicyError, quoted
from policies.good_events import check as check_good
from policies.good_events import is_about_labels
from policies.kinds import ROUTE, SLOS, PolicyFile
from policies.mistakes import Mistake, placed
from policies.nodes import Mapping, Node, Scalar, Sequence, entry_of, find, text_of
from policies.quantities import quantity_at
from policies.references import texts
from policies.schema.slos import LARGEST_BURN
from policies.snapshot.slos import BurnAlert

# A shorter period would be over before anybody reads the alert; events are kept no longer than the longest.
SHORTEST_PERIOD_S: Final = 3600.0
LONGEST_PERIOD_S: Final = 90 * 86400.0
SHORTEST_WINDOW_S: Final = SHORTEST_WINDOW_SLOTS * FINEST_SLOT_S
SEVERITIES: Final = ("page", "ticket")


def check(files: Iterable[PolicyFile]) -> list[PolicyError]:
    """Every objective, window and alert that could not mean what it says, and every route that may not name one."""
    ordered = sorted(files, key=lambda file: file.kind is not SLOS)
    routes = {file.stem for file in ordered if file.kind is ROUTE}
    models: dict[str, str] = {}
    labelled: set[str] = set()
    errors: list[PolicyError] = []
    for file in ordered:
        if file.kind is SLOS and file.root is not None:
            for found in find(file.root, "slos[]"):
                if isinstance(found.node, Mapping):
                    errors += [placed(file, mistake) for mistake in _mistakes(found.node)]
                    if is_about_labels(found.node):
                        labelled.add(text_of(found.node, "name"))
                    # A model that does not exist has been told, and its routes are not to blame.
                    if (model := text_of(found.node, "route")) in routes:
                        models[text_of(found.node, "name")] = model
        elif file.kind is ROUTE:
            errors += _of_another_model(file, models)
            errors += _without_labels(file, labelled)
    return errors


def _mistakes(slo: Mapping) -> Iterator[Mistake]:
    yield from _target(slo)
    yield from _period(slo)
    yield from check_good(slo)
    yield from _likely_within(slo)
    for severity in SEVERITIES:
        yield from _alerts(slo, severity)


def _target(slo: Mapping) -> Iterator[Mistake]:
    for node, share in quantity_at(slo, "objective", "percent"):
        if share == 1:
            yield Mistake(node, "an objective of 100% has no error budget", "Write less, such as 99.9%.")
        elif share == 0:
            yield Mistake(node, "an objective of 0% asks for nothing", "Write more, such as 99.9%.")


def _period(slo: Mapping) -> Iterator[Mistake]:
    for node, period_s in quantity_at(slo, "window", "duration"):
        if not SHORTEST_PERIOD_S <= period_s <= LONGEST_PERIOD_S:
            shortest, longest = units.duration_text(SHORTEST_PERIOD_S), units.duration_text(LONGEST_PERIOD_S)
            is_short = period_s < SHORTEST_PERIOD_S
            problem = f"{node.text} is {'less than' if is_short else 'more than'} {shortest if is_short else longest}"
            yield Mistake(node, problem, f"Write {shortest} to {longest}; 30d is usual.")


def _likely_within(slo: Mapping) -> Iterator[Mistake]:
    period_s = units.quantity(text_of(slo, "window"), "duration") or LONGEST_PERIOD_S
    for node, within_s in quantity_at(slo, "likely_within", "duration"):
        if 0 < within_s < SHORTEST_LIKELY_S:
            shortest = units.duration_text(SHORTEST_LIKELY_S)
            problem = f"{node.text} is foretold by a forty-eighth of it, which holds too few slots"
            yield Mistake(node, problem, f"Write {shortest} or more, or 0s for no such ticket.")
        elif within_s > period_s:
            longest = units.duration_text(period_s)
            problem = f"{node.text} is longer than the objective's own window of {longest}"
            yield Mistake(node, problem, f"Write {longest} or less.")


def _alerts(slo: Mapping, severity: str) -> Iterator[Mistake]:
    entry = entry_of(slo, severity)
    alerts = entry.value.items if entry and isinstance(entry.value, Sequence) else ()
    first_lines: dict[float, int] = {}
    for alert in alerts:
        yield from _windows(slo, alert)
        yield from _never_fires(slo, alert, severity)
        for node, long_s in quantity_at(alert, "long", "duration"):
            if long_s in first_lines:
                problem = f"two of {severity} have the long window {node.text}, the first in line {first_lines[long_s]}"
                yield Mistake(node, problem, "Give one of them another, or remove it.")
            first_lines.setdefault(long_s, node.line)


def _windows(slo: Mapping, alert: Node) -> Iterator[Mistake]:
    period_s = units.quantity(text_of(slo, "window"), "duration") or LONGEST_PERIOD_S
    long_s = units.quantity(text_of(alert, "long"), "duration") or LONGEST_PERIOD_S
    for node, length_s in quantity_at(alert, "long", "duration"):
        if length_s > period_s:
            problem = f"{node.text} is longer than the objective's own window of {units.duration_text(period_s)}"
            yield Mistake(node, problem, f"Write {units.duration_text(period_s)} or less.")
    for node, length_s in quantity_at(alert, "short", "duration"):
        if length_s < SHORTEST_WINDOW_S:
            slot = units.duration_text(FINEST_SLOT_S)
            problem = f"events are counted in slots of {slot}, and {node.text} holds too few of them"
            yield Mistake(node, problem, f"Write {units.duration_text(SHORTEST_WINDOW_S)} or more.")
        elif length_s >= long_s:
            problem = f"the short window of {node.text} is not shorter than the long one of {text_of(alert, 'long')}"
            yield Mistake(node, problem, "Write about a twelfth of the long one.")


def _never_fires(slo: Mapping, alert: Node, severity: str) -> Iterator[Mistake]:
    burn = entry_of(alert, "burn")
    factor = burn.value.value if burn and isinstance(burn.value, Scalar) else None
    for node, target in quantity_at(slo, "objective", "percent"):
        # A number out of range has been told already, and so has a target without a budget.
        if burn and isinstance(factor, int | float) and 0 < factor <= LARGEST_BURN and 0 < target < 1:
            asked = BurnAlert(severity, severity, float(factor), 0.0, 0.0)
            if unreachable(asked, target):
                most = f"{float(1 / (1 - Fraction(repr(target)))):g}"
                problem = f"this never fires: with {node.text} the budget burns {most} times too fast at most"
                yield Mistake(burn.value, problem, f"Write less than {most}.")


def _without_labels(file: PolicyFile, labelled: Collection[str]) -> Iterator[PolicyError]:
    """An objective about labels counts nothing of a model whose answers' labels are not kept."""
    if file.root is None or entry_of(file.root, "feedback") is not None:
        return
    for path in ("slo", "slo[]"):
        for scalar, _ in texts(file, path):
            if scalar.text in labelled:
                problem = f"the objective {quoted(scalar.text)} counts labels, and this route keeps none"
                fix = "Add feedback, as feedback: {label: /label, for: 24h}, or name another one."
                yield PolicyError(file.path, scalar.line, scalar.column, problem, fix)


def _of_another_model(file: PolicyFile, models: dict[str, str]) -> Iterator[PolicyError]:
    """An objective that is for one model, as `models` says, says nothing about another's requests."""
    for path in ("slo", "slo[]"):
        for scalar, _ in texts(file, path):
            model = models.get(scalar.text)
            if model and model != file.stem:
                problem = f"the objective {quoted(scalar.text)} is for the model {quoted(model)}"
                fix = "Name another one, or remove its route in slos.yaml."
                yield PolicyError(file.path, scalar.line, scalar.column, problem, fix)
