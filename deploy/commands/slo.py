"""``penstock slo``: shows the objectives of the running mesh, their budgets, burn rates and alerts."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.commands.running_mesh import NotReachable, add_arguments, ask, decoded, find
from deploy.commands.table import table
from gateway.control.slo_reports import AlertReport, BurnReport, ModelActivityReport, ObjectiveReport, SloReport
from gateway.control.slo_words import length
from policies.units import duration_text

# What is overspent by more than the whole budget is told in budgets: "-190x" rather than "-19020.0%".
_IN_PERCENT_ABOVE = -1.0


def run(arguments: Sequence[str]) -> int:
    """Print the objectives; 0 unless the mesh cannot be asked, or ``--check`` finds one that pages or is exhausted."""
    parser = argparse.ArgumentParser(prog="penstock slo", description="Show objectives, budgets, burn rates, alerts.")
    add_arguments(parser)
    parser.add_argument("--check", action="store_true", help="exit with 1 while a page fires or a budget is exhausted")
    options = parser.parse_args(arguments)
    try:
        target = find(options, os.environ, Path.home())
        answer = ask(target, "/admin/slo")
        report = decoded(target, "/admin/slo", answer, SloReport)
    except NotReachable as error:
        print(f"penstock slo: {error}", file=sys.stderr)
        return 1
    print(answer.decode() if options.json else describe(report))
    return 1 if options.check and any(slo.status in ("page", "exhausted") for slo in report.slos) else 0


def describe(report: SloReport) -> str:
    """Return the objectives for people."""
    if not report.slos:
        return "no route names an objective: write slos.yaml, and `slo:` in a route"
    parts = [_objectives(report.slos), _models(report.models), "\n".join([*_firing(report), *_held_back(report)])]
    return "\n\n".join(part for part in parts if part)


def _objectives(slos: Sequence[ObjectiveReport]) -> str:
    head = ("SLO", "MODEL", "TARGET", "STATUS", "GOOD", "BAD", "BUDGET LEFT", "ENDS IN", "BURN RATES", "ALERTS")
    return table(
        head,
        [
            (
                slo.name,
                slo.model,
                f"{slo.target * 100:.10g}% in {duration_text(slo.period_s)}",
                slo.status.replace("_", " "),
                slo.good,
                slo.bad,
                budget(slo.remaining_ratio, is_enough=slo.is_enough),
                ends_in(slo),
                burns(slo.burn),
                alerts(slo.alerts),
            )
            for slo in slos
        ],
    )


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


def burns(windows: Sequence[BurnReport]) -> str:
    """Write the burn rate of every window."""
    return " ".join(f"{duration_text(window.window_s)}:{window.burn_rate:.3g}x" for window in windows)


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
        f"{slo.name} ({slo.model}): {alert.name} has fired for {length(report.at - alert.since)}; "
        f"{duration_text(alert.long_s)} burns {alert.long_burn:.3g}x and {duration_text(alert.short_s)} "
        f"{alert.short_burn:.3g}x, limit {alert.factor:g}x"
        for slo in report.slos
        for alert in slo.alerts
        if alert.state == "firing" and alert.since is not None
    ]


def _held_back(report: SloReport) -> list[str]:
    return [
        f"{slo.name} ({slo.model}): {alert.name} is held back, {alert.held_back}"
        for slo in report.slos
        for alert in slo.alerts
        if alert.held_back
    ]
