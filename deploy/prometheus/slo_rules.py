"""Writes the rules of one objective: its events step by step, its windows, its budget, and the alerts upon them.

Events are counted at every evaluation as the difference of counters to the evaluation before, so that the sum over any
window is the window's events, each once: nothing is extrapolated, and no quiet hour weighs as much as a busy one.
Burn rates are compared as products of whole numbers, as the embedded engine does, so exactly the factor is not more
than the factor.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from deploy.prometheus import alert_texts
from deploy.prometheus.guards import ln_chance, ln_limit
from deploy.prometheus.rule import Alert as AlertRule
from deploy.prometheus.rule import Group, Places, Record
from deploy.prometheus.series import (
    BAD,
    BAD_STEP,
    BURN,
    EVENTS,
    EVENTS_STEP,
    EXHAUSTION,
    GOOD,
    KEPT,
    LEFT,
    LN_CHANCE,
    REMAINING,
    TARGET,
)
from deploy.prometheus.windows import selected
from policies.snapshot.slos import Objective
from policies.units import duration_text
from telemetry.conventions import SLO_EVENTS
from telemetry.slo.alerts import Alert, Tier, alerts_of, windows
from telemetry.slo.budget import ENOUGH_BAD_EVENTS
from telemetry.slo.burn_rate import bad_share, budget_share

BURNS: Final = "PenstockBudgetBurns"
LIKELY: Final = "PenstockBreachLikely"
EXHAUSTED: Final = "PenstockBudgetExhausted"


def slo_group(objective: Objective, step: int, places: Places) -> Group:
    """Return the rules of an objective, for all models whose routes name it.

    Args:
        step: seconds between two evaluations.
    """
    rules: list[Record | AlertRule] = [*_steps(objective, step), *_budget(objective, step)]
    for length_s in windows(objective):
        rules += _window(objective, length_s, step)
    rules += [*_chances(objective), *_exhaustion(objective)]
    rules += [_alert(objective, alert, places) for alert in alerts_of(objective)]
    return Group(f"penstock-slo-{objective.name}", duration_text(float(step)), tuple(rules))


def _alert(objective: Objective, alert: Alert, places: Places) -> AlertRule:
    match alert.tier:
        case Tier.LIKELY:
            return _likely(objective, alert, places)
        case Tier.EXHAUSTED:
            return _exhausted(objective, alert, places)
    return _burns(objective, alert, places)


def _record(objective: Objective, name: str, expr: str, **labels: str) -> Record:
    """Return what is recorded, with the name that it has anyway: so promtool sees that no two rules are the same."""
    return Record(name, expr, {"slo": objective.name, **labels})


def _steps(objective: Objective, step: int) -> list[Record]:
    return [
        _record(objective, BAD_STEP, _difference(f'slo="{objective.name}", outcome="bad"', step)),
        _record(objective, EVENTS_STEP, _difference(f'slo="{objective.name}", outcome=~"good|bad"', step)),
    ]


def _difference(which: str, step: int) -> str:
    """Return what counters grew by since the evaluation before; of one that began anew, what it has since then."""
    now = f"{SLO_EVENTS.name}{{{which}}}"
    before = f"{now} offset {duration_text(float(step))}"
    return f"sum by ({KEPT}) (\n  ({now} - {before} >= 0)\n  or\n  ({now} and {before})\n)"


def _window(objective: Objective, length_s: float, step: int) -> list[Record]:
    bad, events = _counts(objective, length_s)
    budget = budget_share(objective.target)
    # Without events 0 / 0 is no number, which is not at least 0, and the burn rate is 0.
    burn = f"({bad} * {budget.denominator} / ({events} * {budget.numerator}) >= 0)\nor\n{events} * 0"
    # A window as long as the period is the budget's, and recorded with it.
    sums = [] if length_s == objective.period_s else _sums(objective, length_s, step)
    return [*sums, _record(objective, BURN, burn, window=duration_text(length_s))]


def _sums(objective: Objective, length_s: float, step: int) -> list[Record]:
    window = duration_text(length_s)
    return [
        _record(
            objective,
            total,
            f'sum_over_time({each}{{slo="{objective.name}"}}[{selected(length_s, step)}])',
            window=window,
        )
        for total, each in ((BAD, BAD_STEP), (EVENTS, EVENTS_STEP))
    ]


def _counts(objective: Objective, length_s: float) -> tuple[str, str]:
    """Return bad events and all that count of a window, as expressions."""
    of_window = f'{{slo="{objective.name}", window="{duration_text(length_s)}"}}'
    return f"{BAD}{of_window}", f"{EVENTS}{of_window}"


def _of(name: str, objective: Objective) -> str:
    return f'{name}{{slo="{objective.name}"}}'


def _chances(objective: Objective) -> list[Record]:
    if not objective.guards.chance_below:
        return []
    return [
        _record(
            objective,
            LN_CHANCE,
            ln_chance(*_counts(objective, alert.long_s), float(bad_share(objective.target, alert.factor))),
            alert=alert.name,
        )
        for alert in alerts_of(objective)
        if alert.tier is not Tier.EXHAUSTED
    ]


def _budget(objective: Objective, step: int) -> list[Record]:
    bad, events = _counts(objective, objective.period_s)
    budget = budget_share(objective.target)
    allowed = f"{events} * {budget.numerator} / {budget.denominator}"
    spent = f"{bad} * {budget.denominator} / ({budget.numerator} * ({events} > 0))"
    return [
        *_sums(objective, objective.period_s, step),
        _record(objective, TARGET, f"sum without (window) ({events}) * 0 + {objective.target!r}"),
        _record(objective, GOOD, f"sum without (window) (1 - {bad} / ({events} > 0))"),
        _record(objective, REMAINING, f"sum without (window) (1 - {spent})"),
        _record(objective, LEFT, f"sum without (window) (clamp_min({allowed} - {bad}, 0))"),
    ]


def _exhaustion(objective: Objective) -> list[Record]:
    """Reckon by the shortest long window, as long as the shortest of all says that it goes on."""
    if not objective.alerts:
        return []
    long_s = min(alert.long_s for alert in objective.alerts)
    ongoing, _ = _counts(objective, min(alert.short_s for alert in objective.alerts))
    return [_record(objective, EXHAUSTION, f"({_ends_in(objective, long_s)} > 0)\nand on ({KEPT}) ({ongoing} > 0)")]


def _ends_in(objective: Objective, length_s: float) -> str:
    bad, _ = _counts(objective, length_s)
    return f"{_of(LEFT, objective)} * {length_s:.0f} / ignoring (window) ({bad} > 0)"


def _burns(objective: Objective, alert: Alert, places: Places) -> AlertRule:
    share = bad_share(objective.target, alert.factor)
    lines = [
        # Without the window an alert has the labels of the mesh's own notice of it, and no other.
        f'sum without (window) ({BURN}{{slo="{objective.name}", window="{duration_text(alert.long_s)}"}})',
        f"and ignoring (window) ({_faster(objective, alert.long_s, share)})",
        f"and ignoring (window) ({_faster(objective, alert.short_s, share)})",
        *_guards(objective, alert),
    ]
    labels = {"severity": alert.severity, "tier": alert.tier.value, "alert": alert.name, **_names(objective, places)}
    return AlertRule(BURNS, "\n".join(lines), labels, alert_texts.burns(objective, alert, places))


def _names(objective: Objective, places: Places) -> dict[str, str]:
    return {"slo": objective.name, "owner": objective.owner, "mesh": places.mesh}


def _faster(objective: Objective, length_s: float, share: Fraction) -> str:
    bad, events = _counts(objective, length_s)
    return f"{bad} * {share.denominator} > {events} * {share.numerator}"


def _guards(objective: Objective, alert: Alert) -> list[str]:
    guards = objective.guards
    bad, events = _counts(objective, alert.long_s)
    chance = f'{LN_CHANCE}{{slo="{objective.name}", alert="{alert.name}"}}'
    held = [
        *([f"{events} >= {guards.min_events}"] if guards.min_events else []),
        *([f"{bad} >= {guards.min_bad_events}"] if guards.min_bad_events else []),
        *([f"{chance} < {ln_limit(guards.chance_below)}"] if guards.chance_below else []),
    ]
    return [f"and on ({KEPT}) ({one})" for one in held]


def _likely(objective: Objective, alert: Alert, places: Places) -> AlertRule:
    within = f"{alert.within_s:.0f}"
    lines = [
        f"(\n  {_ends_in(objective, alert.long_s)} < {within}\n)",
        f"and ({_ends_in(objective, alert.short_s)} < {within})",
        f"and on ({KEPT}) ({_faster(objective, alert.short_s, budget_share(objective.target))})",
        f"and ({_of(LEFT, objective)} > 0)",
        f"and on ({KEPT}) ({_is_enough(objective)})",
        *_guards(objective, alert),
    ]
    labels = {"severity": alert.severity, "tier": alert.tier.value, **_names(objective, places)}
    return AlertRule(LIKELY, "\n".join(lines), labels, alert_texts.likely(objective, alert, places))


def _exhausted(objective: Objective, alert: Alert, places: Places) -> AlertRule:
    bad, events = _counts(objective, objective.period_s)
    budget = budget_share(objective.target)
    expr = (
        f"{_of(REMAINING, objective)}\n"
        f"and on ({KEPT}) ({bad} * {budget.denominator} >= {events} * {budget.numerator})\n"
        f"and on ({KEPT}) ({bad} > 0)\n"
        f"and on ({KEPT}) ({_is_enough(objective)})"
    )
    labels = {"severity": alert.severity, "tier": alert.tier.value, **_names(objective, places)}
    return AlertRule(EXHAUSTED, expr, labels, alert_texts.exhausted(objective, alert, places))


def _is_enough(objective: Objective) -> str:
    _, events = _counts(objective, objective.period_s)
    budget = budget_share(objective.target)
    return f"{events} * {budget.numerator} >= {ENOUGH_BAD_EVENTS * budget.denominator}"
