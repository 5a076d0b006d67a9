"""Writes objectives for people: all of them in tables, or one with every window against its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from deploy.commands.screens.board import objective_state
from deploy.commands.table import table
from gateway.control.slo_reports import (
    AlertReport,
    BurnReport,
    ModelActivityReport,
    ObjectiveReport,
    SloReport,
    VersionBudgetReport,
)
from gateway.control.slo_words import budget_text, length
from policies.units import duration_text

LATEST_HISTORY, ALL_HISTORY = 10, 10_000
# What is overspent by more than the whole budget is told in budgets: "-190x" rather than "-19020.0%".
_IN_PERCENT_ABOVE = -1.0
# A bar ends at twice the limit, which stands in its middle.
_BAR_COLUMNS = 20


def describe(report: SloReport, most_of_history: int = LATEST_HISTORY) -> str:
    """Return the objectives for people."""
    if not report.slos:
        return "no route names an objective: write slos.yaml, and `slo:` in a route"
    now = "\n".join([*_firing(report), *_held_back(report)])
    parts = [
        _objectives(report.slos),
        _good_events(report.slos),
        _models(report.models),
        now,
        _history(report, most_of_history),
    ]
    return "\n\n".join(part for part in parts if part)


def describe_whole(report: SloReport, slos: Sequence[ObjectiveReport], most_of_history: int = LATEST_HISTORY) -> str:
    """Return all there is of some objectives."""
    return "\n\n\n".join(_whole(report, slo, most_of_history) for slo in slos)


def _objectives(slos: Sequence[ObjectiveReport]) -> str:
    head = ("SLO", "MODEL", "TARGET", "STATUS", "GOOD", "BAD", "BUDGET LEFT", "ENDS IN", "BURN RATES", "ALERTS")
    return table(
        head,
        [
            (
                slo.name,
                slo.model,
                f"{slo.target * 100:.10g}% in {duration_text(slo.period_s)}",
                objective_state(slo).replace("_", " "),
                slo.good,
                slo.bad,
                budget(slo.remaining_ratio, is_enough=slo.is_enough),
                ends_in(slo),
                burns(slo.burn, slo.alerts),
                alerts(slo.alerts),
            )
            for slo in slos
        ],
    )


def _good_events(slos: Sequence[ObjectiveReport]) -> str:
    """Write of each objective once what it counts, however many models it is for."""
    return "\n".join(f"{name}: {good_when}" for name, good_when in {slo.name: slo.good_when for slo in slos}.items())


def budget(remaining_ratio: float | None, *, is_enough: bool) -> str | None:
    """Write what is left of a budget, or how many budgets are overspent; with a question mark if few events say it."""
    if remaining_ratio is None:
        return None
    left = (
        f"{remaining_ratio:.1%}"
        if remaining_ratio > _IN_PERCENT_ABOVE
        else f"{remaining_ratio:.{int(remaining_ratio > -10)}f}x"
    )
    return left + ("" if is_enough else " ?")


def ends_in(slo: ObjectiveReport) -> str | None:
    """Write when a budget is spent; None where no events say it."""
    if slo.remaining_ratio is None:
        return None
    if slo.remaining_ratio <= 0.0:
        return "spent"
    return "not at this pace" if slo.exhaustion_s is None else length(slo.exhaustion_s)


def burns(windows: Sequence[BurnReport], over: Sequence[AlertReport] = ()) -> str:
    """Write the burn rate of every window, with a mark where it is above the least limit of these alerts."""
    return " ".join(f"{duration_text(window.window_s)}:{_burn(window)}{_mark(window, over)}" for window in windows)


def _burn(window: BurnReport) -> str:
    return f"{window.burn_rate:.3g}x" if window.good + window.bad else "no-data"


def _mark(window: BurnReport, over: Sequence[AlertReport]) -> str:
    return "!" if any(window.burn_rate > limit.factor for limit in _limits(window.window_s, over)) else ""


def _limits(window_s: float, of: Sequence[AlertReport]) -> list[AlertReport]:
    """Return the alerts that look at a window, the one with the least limit first."""
    looking = [alert for alert in of if alert.tier != "exhausted" and window_s in (alert.long_s, alert.short_s)]
    return sorted(looking, key=lambda alert: alert.factor)


def alerts(states: Sequence[AlertReport]) -> str:
    """Write how many alerts fire, and how many are held back; lines below the table name them."""
    firing = sum(alert.state == "firing" for alert in states)
    held = sum(bool(alert.held_back) for alert in states)
    told = [f"{firing} fire{'s' if firing == 1 else ''}"] * bool(firing) + [f"{held} held back"] * bool(held)
    return ", ".join(told) or "quiet"


def _models(models: Sequence[ModelActivityReport]) -> str:
    if not models:
        return ""
    head = ("MODEL", "VERSION", "REQUESTS/S", "ERRORS", "P50", "P99")
    return table(head, [(m.model, m.version, round(m.requests_per_s, 2), *_measured(m)) for m in models])


def _measured(model: ModelActivityReport) -> tuple[str | None, ...]:
    times = (None if s is None else f"{s * 1000:.0f} ms" for s in (model.p50_s, model.p99_s))
    return (f"{model.error_ratio:.2%}", *times)


def _firing(report: SloReport) -> list[str]:
    return [
        f"{slo.name} ({slo.model}): {alert.name} has fired for {length(report.at - alert.since)}; {_burning(alert)}"
        for slo in report.slos
        for alert in slo.alerts
        if alert.state == "firing" and alert.since is not None
    ]


def _burning(alert: AlertReport) -> str:
    long = f"{duration_text(alert.long_s)} burns {alert.long_burn:.3g}x"
    if alert.tier == "exhausted":
        return long
    return f"{long} and {duration_text(alert.short_s)} {alert.short_burn:.3g}x, limit {alert.factor:.3g}x"


def _history(report: SloReport, most: int, only: ObjectiveReport | None = None) -> str:
    """Write when alerts began and ended, the newest first."""
    slos = report.slos if only is None else [only]
    told = [(one.at, slo.name, slo.model, one.name, one.state) for slo in slos for one in slo.recent]
    if not told:
        return ""
    rows = [(_moment(at), *rest) for at, *rest in sorted(told, reverse=True)[:most]]
    return table(("WHEN (UTC)", "SLO", "MODEL", "ALERT", "IT"), rows)


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _held_back(report: SloReport) -> list[str]:
    return [
        f"{slo.name} ({slo.model}): {alert.name} is held back, {alert.held_back}"
        for slo in report.slos
        for alert in slo.alerts
        if alert.held_back
    ]


def _whole(report: SloReport, slo: ObjectiveReport, most_of_history: int) -> str:
    parts = [
        "\n".join(_headline(slo)),
        _windows(slo),
        _alerts(slo, report.at),
        _versions(slo.versions),
        _history(report, most_of_history, slo),
    ]
    return "\n\n".join(part for part in parts if part)


def _headline(slo: ObjectiveReport) -> Iterator[str]:
    state = objective_state(slo).replace("_", " ")
    yield f"{slo.name} of {slo.model}: {state} (owner {slo.owner})"
    yield f"{slo.good_when} {slo.target * 100:.10g}% of {slo.events} have to be, in any {duration_text(slo.period_s)}."
    counted = f"{slo.good} good, {slo.bad} bad, {slo.ignored} ignored"
    if slo.remaining_ratio is None:
        yield f"{counted}: no data"
        return
    sure = "" if slo.is_enough else " (so few events that this means little)"
    yield f"{counted}: {budget_text(slo.remaining_ratio)}{sure}"
    yield _end(slo)


def _end(slo: ObjectiveReport) -> str:
    if slo.remaining_ratio is not None and slo.remaining_ratio <= 0.0:
        return "nothing is left; it comes back as what was bad gets older than the period"
    if slo.exhaustion_s is None:
        return "at the pace of now the budget does not end"
    return f"at the pace of now the budget ends in {length(slo.exhaustion_s)}"


def _windows(slo: ObjectiveReport) -> str:
    rows = []
    for window in slo.burn:
        limits = _limits(window.window_s, slo.alerts)
        least = limits[0].factor if limits else None
        named = ", ".join(f"{limit.name} {limit.factor:.3g}x" for limit in limits) or None
        counted = (window.good, window.bad)
        rows.append((duration_text(window.window_s), _burn(window), _bar(window, least), named, *counted))
    return table(("WINDOW", "BURNS", f"{'0':<{_BAR_COLUMNS // 2}}LIMIT", "LIMITS", "GOOD", "BAD"), rows)


def _bar(window: BurnReport, limit: float | None) -> str:
    """Draw a burn rate against the least limit, which stands in the middle."""
    if limit is None or limit <= 0.0:
        return ""
    filled = min(_BAR_COLUMNS, round(window.burn_rate / limit * _BAR_COLUMNS / 2))
    bar = "#" * filled + "." * (_BAR_COLUMNS - filled)
    return f"{bar[: _BAR_COLUMNS // 2]}|{bar[_BAR_COLUMNS // 2 :]}"


def _alerts(slo: ObjectiveReport, now_s: float) -> str:
    rows = [
        (
            alert.name,
            alert.severity,
            _pair(alert),
            f"{alert.factor:.3g}x",
            _since(alert, now_s),
            alert.held_back or None,
        )
        for alert in slo.alerts
    ]
    return table(("ALERT", "SEVERITY", "BURNS NOW", "LIMIT", "IT", "HELD BACK"), rows) if rows else ""


def _pair(alert: AlertReport) -> str:
    long = f"{duration_text(alert.long_s)} {alert.long_burn:.3g}x"
    return long if alert.tier == "exhausted" else f"{long}, {duration_text(alert.short_s)} {alert.short_burn:.3g}x"


def _since(alert: AlertReport, now_s: float) -> str:
    if alert.since is None:
        return alert.state
    ago = length(max(0.0, now_s - alert.since))
    return f"fires for {ago}" if alert.state == "firing" else f"{alert.state} {ago} ago"


def _versions(versions: Sequence[VersionBudgetReport]) -> str:
    if not versions:
        return ""
    rows = [
        (one.version, one.good, one.bad, budget(one.remaining_ratio, is_enough=True), burns(one.burn))
        for one in versions
    ]
    return table(("VERSION", "GOOD", "BAD", "LEFT IF ALL WERE ITS", "BURN RATES"), rows)
