"""Decides how objectives, their budgets and their alerts are drawn, and how the models of the mesh do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from telemetry.hub.shown.answers import Alert, Burn, FiringAlert, ModelActivity, Objective, Overview, Pod, VersionBudget
from telemetry.hub.shown.axis import Bar, Tick, bar
from telemetry.hub.shown.formats import (
    count,
    date,
    duration,
    factor,
    good_share,
    percent,
    share,
    target,
    times,
    window,
)

HEADROOM = 1.6
"""A bar of a burn rate reaches so many times its greatest threshold, unless the rate itself is greater."""

SPANS_S = {"15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "3d": 259200, "7d": 604800, "30d": 2592000}

_STATUS_WORDS = {
    "ok": "ok",
    "page": "page",
    "ticket": "ticket",
    "no_data": "no data",
    "exhausted": "budget spent",
}
_TIER_WORDS = {
    "fast": "burns fast",
    "slow": "burns slowly",
    "likely": "budget ends soon",
    "exhausted": "budget spent",
}
LIKELY, EXHAUSTED = "likely", "exhausted"
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
    """The burn rate in one window, with a tick at each alert's factor; a window without events has no rate."""

    window: str
    rate: str
    bar: Bar
    ticks: tuple[Tick, ...]
    is_hot: bool
    counts: str
    has_data: bool = True


class Runbook(Struct, frozen=True):
    """A page that says what to do; only an address of the web can be opened from here."""

    text: str
    href: str = ""


class AlertRow(Struct, frozen=True):
    """One alert: what it waits for and where it stands."""

    alert: Alert
    rule: str
    now: str
    since: str
    runbook: Runbook


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
    sli: str
    sli_latest: str
    why: str


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
        _exhaustion(objective),
        tuple(_alert_row(alert) for alert in objective.alerts),
        tuple(_version_row(version, objective) for version in objective.versions),
        good_share(objective.good, objective.bad),
        _latest(objective.burn),
        why(objective),
    )


def _latest(burn: Sequence[Burn]) -> str:
    """Return how good the shortest window was; "" without windows."""
    shortest = min(burn, key=lambda each: each.window_s, default=None)
    if shortest is None:
        return ""
    return f"{good_share(shortest.good, shortest.bad)} in {window(shortest.window_s)}"


def why(objective: Objective) -> str:
    """Return why an objective is where it is, in words; "" where its state says all."""
    if objective.status == "no_data":
        return f"no event counted in {window(objective.period_s)}"
    tiers = {alert.tier for alert in objective.alerts if alert.state == "firing"}
    told = [_tier_words(tier, objective) for tier in _TIER_WORDS if tier in tiers]
    held = sum(bool(alert.held_back) for alert in objective.alerts)
    told += [f"{held} alert{'s' if held > 1 else ''} held back"] * bool(held)
    told += ["too few events to tell"] * (not objective.is_enough)
    return ", ".join(told)


def _tier_words(tier: str, objective: Objective) -> str:
    words = _TIER_WORDS[tier]
    if tier == LIKELY and objective.likely_within_s:
        return f"budget likely ends within {window(objective.likely_within_s)}"
    return words


def runbook(page: str) -> Runbook:
    """Return a page as it can be shown: what is no address of the web is a file of the documents."""
    name = page.rpartition("/")[2]
    return Runbook(name, page) if page.startswith(("https://", "http://")) else Runbook(page)


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
        return Budget(share(None), "unknown", Bar("0%", percent(0.0)), "no events yet")
    if remaining_ratio <= 0:
        note = "spent" if is_enough else "spent; few events yet"
        return Budget(share(remaining_ratio), "gone", Bar("0%", percent(0.0)), note)
    if not is_enough:
        return Budget(share(remaining_ratio), "unknown", Bar("0%", percent(remaining_ratio)), "few events yet")
    level = "low" if remaining_ratio < 0.25 else "good"
    return Budget(share(remaining_ratio), level, Bar("0%", percent(remaining_ratio)))


def burn_bars(burn: Sequence[Burn], alerts: Sequence[Alert]) -> tuple[BurnBar, ...]:
    """Return a bar for each window; its ticks are the factors of the alerts that look at it."""
    return tuple(_burn_bar(each, alerts) for each in burn)


def _burn_bar(burn: Burn, alerts: Sequence[Alert]) -> BurnBar:
    factors = sorted(
        {alert.factor for alert in alerts if alert.tier != EXHAUSTED and burn.window_s in (alert.long_s, alert.short_s)}
    )
    whole = max(HEADROOM * max(factors, default=1.0), burn.burn_rate)
    has_data = burn.good + burn.bad > 0
    return BurnBar(
        window(burn.window_s),
        times(burn.burn_rate) if has_data else "no data",
        bar(0.0, burn.burn_rate, whole),
        tuple(Tick(percent(each / whole), factor(each)) for each in factors),
        any(burn.burn_rate > each for each in factors),
        f"{count(burn.good)} good, {count(burn.bad)} bad" if has_data else "no events",
        has_data,
    )


def _exhaustion(objective: Objective) -> str:
    """Return when the budget ends, in words."""
    seconds = objective.exhaustion_s
    if objective.remaining_ratio is None:
        return "no data"
    if seconds is None:
        return "not at this pace"
    return f"in {duration(seconds)}" if seconds > 0 else "has ended"


def _promise(objective: Objective) -> str:
    """Return what is promised, in words."""
    return f"{target(objective.target)} good over {window(objective.period_s)}. {objective.good_when}"


def _alert_row(alert: Alert) -> AlertRow:
    return AlertRow(alert, *_rule_now_since(alert), runbook(alert.runbook))


def _rule_now_since(alert: Alert) -> tuple[str, str, str]:
    since = "" if alert.since is None else date(alert.since)
    if alert.tier == EXHAUSTED:
        return f"as much was bad in {window(alert.long_s)} as may be", times(alert.long_burn), since
    return (rule(alert), f"{times(alert.long_burn)} and {times(alert.short_burn)}", since)


def rule(alert: Alert) -> str:
    """Return what an alert waits for."""
    both = f"over {factor(alert.factor)} in both {window(alert.long_s)} and {window(alert.short_s)}"
    return f"the budget ends soon at this pace: {both}" if alert.tier == LIKELY else both


def _version_row(version: VersionBudget, objective: Objective) -> VersionRow:
    return VersionRow(
        version.version,
        count(version.good),
        count(version.bad),
        count(version.ignored),
        budget(version.remaining_ratio),
        burn_bars(version.burn, objective.alerts),
    )
