"""Decides how objectives, their budgets and their alerts are drawn, and how the models of the mesh do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from telemetry.hub.shown.answers import Alert, Burn, FiringAlert, ModelActivity, Objective, Overview, Pod, VersionBudget
from telemetry.hub.shown.axis import Bar, Tick, bar
from telemetry.hub.shown.formats import count, date, duration, factor, percent, share, target, times, window

HEADROOM = 1.6
"""A bar of a burn rate reaches so many times its greatest threshold, unless the rate itself is greater."""

SPANS_S = {"15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "3d": 259200, "7d": 604800, "30d": 2592000}

_STATUS_WORDS = {
    "ok": "ok",
    "page": "page",
    "ticket": "ticket",
    "no_data": "no requests yet",
    "exhausted": "budget spent",
}
_WORST_FIRST = ("page", "exhausted", "ticket", "ok", "no_data")


class Budget(Struct, frozen=True):
    """What is left of an error budget.

    Attributes:
        level: how to colour it: good, low, gone or unknown.
        note: that it is spent, or why it tells little; "" when it tells enough.
    """

    text: str
    level: str
    bar: Bar
    note: str = ""


class BurnBar(Struct, frozen=True):
    """The burn rate in one window, with a tick at each alert's factor."""

    window: str
    rate: str
    bar: Bar
    ticks: tuple[Tick, ...]
    is_hot: bool
    counts: str


class AlertRow(Struct, frozen=True):
    """One alert: what it waits for and where it stands."""

    alert: Alert
    rule: str
    now: str
    since: str


class VersionRow(Struct, frozen=True):
    """What one version contributes."""

    version: str
    good: str
    bad: str
    ignored: str
    budget: Budget
    burn: tuple[BurnBar, ...]


class ObjectiveRow(Struct, frozen=True):
    """One objective for one model."""

    objective: Objective
    target: str
    period: str
    promise: str
    status: str
    good: str
    bad: str
    ignored: str
    budget: Budget
    burn: tuple[BurnBar, ...]
    exhaustion: str
    alerts: tuple[AlertRow, ...]
    versions: tuple[VersionRow, ...]


class ModelCard(Struct, frozen=True):
    """A model: its versions, its budgets and its pods."""

    model: str
    versions: tuple[ModelActivity, ...]
    objectives: tuple[ObjectiveRow, ...]
    pods: tuple[Pod, ...]
    ready_count: int
    worst: str


class FiringRow(Struct, frozen=True):
    """An objective of which alerts fire: the worst of them, and the names of the others."""

    alert: FiringAlert
    rule: str
    now: str
    since: str
    also: tuple[str, ...]


def model_cards(overview: Overview) -> tuple[ModelCard, ...]:
    """Return every model that is served, was called, has a pod or an objective."""
    known: tuple[ModelActivity | Objective | Pod, ...] = (*overview.models, *overview.slos, *overview.pods)
    names = {one.model for one in known}
    return tuple(_card(name, overview) for name in sorted(names - {""}))


def _card(model: str, overview: Overview) -> ModelCard:
    objectives = tuple(objective_row(slo) for slo in overview.slos if slo.model == model)
    pods = tuple(pod for pod in overview.pods if pod.model == model)
    return ModelCard(
        model,
        tuple(sorted((each for each in overview.models if each.model == model), key=lambda each: each.version)),
        objectives,
        pods,
        sum(pod.state == "ready" for pod in pods),
        _worst(row.objective.status for row in objectives),
    )


def _worst(statuses: Iterable[str]) -> str:
    occurring = set(statuses)
    return next((status for status in _WORST_FIRST if status in occurring), "no_data")


def objective_rows(objectives: Sequence[Objective]) -> tuple[ObjectiveRow, ...]:
    """Return the objectives, those in trouble first."""
    rank = {status: place for place, status in enumerate(_WORST_FIRST)}
    ordered = sorted(objectives, key=lambda slo: (rank.get(slo.status, 0), slo.model, slo.name))
    return tuple(objective_row(objective) for objective in ordered)


def objective_row(objective: Objective) -> ObjectiveRow:
    """Return one objective."""
    return ObjectiveRow(
        objective,
        target(objective.target),
        window(objective.period_s),
        _promise(objective),
        _STATUS_WORDS.get(objective.status, objective.status),
        count(objective.good),
        count(objective.bad),
        count(objective.ignored),
        budget(objective.remaining_ratio, objective.is_enough),
        burn_bars(objective.burn, objective.alerts),
        _exhaustion(objective.exhaustion_s),
        tuple(_alert_row(alert) for alert in objective.alerts),
        tuple(_version_row(version, objective) for version in objective.versions),
    )


def firing_rows(alerts: Sequence[FiringAlert]) -> tuple[FiringRow, ...]:
    """Return the objectives of which alerts fire; of the alerts, the worst come first."""
    by_objective: dict[tuple[str, str], list[FiringAlert]] = {}
    for alert in alerts:
        by_objective.setdefault((alert.slo, alert.model), []).append(alert)
    return tuple(
        FiringRow(worst, *_rule_now_since(worst), tuple(other.name for other in others))
        for worst, *others in by_objective.values()
    )


def budget(remaining_ratio: float | None, is_enough: bool = True) -> Budget:
    """Return how much of a budget is left; of few events only a spent one is coloured."""
    if remaining_ratio is None:
        return Budget(share(None), "unknown", Bar("0%", percent(0.0)), "no requests yet")
    if remaining_ratio <= 0:
        note = "spent" if is_enough else "spent; few requests yet"
        return Budget(share(remaining_ratio), "gone", Bar("0%", percent(0.0)), note)
    if not is_enough:
        return Budget(share(remaining_ratio), "unknown", Bar("0%", percent(remaining_ratio)), "few requests yet")
    level = "low" if remaining_ratio < 0.25 else "good"
    return Budget(share(remaining_ratio), level, Bar("0%", percent(remaining_ratio)))


def burn_bars(burn: Sequence[Burn], alerts: Sequence[Alert]) -> tuple[BurnBar, ...]:
    """Return a bar for each window; its ticks are the factors of the alerts that look at it."""
    return tuple(_burn_bar(each, alerts) for each in burn)


def _burn_bar(burn: Burn, alerts: Sequence[Alert]) -> BurnBar:
    factors = sorted({alert.factor for alert in alerts if burn.window_s in (alert.long_s, alert.short_s)})
    whole = max(HEADROOM * max(factors, default=1.0), burn.burn_rate)
    return BurnBar(
        window(burn.window_s),
        times(burn.burn_rate),
        bar(0.0, burn.burn_rate, whole),
        tuple(Tick(percent(each / whole), factor(each)) for each in factors),
        any(burn.burn_rate > each for each in factors),
        f"{count(burn.good)} good, {count(burn.bad)} bad",
    )


def _exhaustion(seconds: float | None) -> str:
    """Return when the budget ends, in words."""
    if seconds is None:
        return "not at this pace"
    return f"in {duration(seconds)}" if seconds > 0 else "has ended"


def _promise(objective: Objective) -> str:
    """Return what is promised, in words."""
    in_time = "" if objective.within_s is None else f" within {duration(objective.within_s)}"
    return f"{target(objective.target)} answered well{in_time}, over {window(objective.period_s)}"


def _alert_row(alert: Alert) -> AlertRow:
    return AlertRow(alert, *_rule_now_since(alert))


def _rule_now_since(alert: Alert) -> tuple[str, str, str]:
    return (
        f"over {factor(alert.factor)} in both {window(alert.long_s)} and {window(alert.short_s)}",
        f"{times(alert.long_burn)} and {times(alert.short_burn)}",
        "" if alert.since is None else date(alert.since),
    )


def _version_row(version: VersionBudget, objective: Objective) -> VersionRow:
    return VersionRow(
        version.version,
        count(version.good),
        count(version.bad),
        count(version.ignored),
        budget(version.remaining_ratio),
        burn_bars(version.burn, objective.alerts),
    )
