"""Turns what the engine of objectives counted and decided into what the management API reports."""

from __future__ import annotations

from math import ceil

from gateway.control.messages import SLOT_S
from gateway.control.recent_models import ModelActivity
from gateway.control.slo_engine import Judged, SloEngine, alert_key, windows
from gateway.control.slo_reports import (
    AlertReport,
    BurnReport,
    HistoryQuestion,
    ModelActivityReport,
    ObjectiveReport,
    PointReport,
    SloHistoryReport,
    SloReport,
    TransitionReport,
    VersionBudgetReport,
)
from model_pod.wire.refusals import Refused
from policies.snapshot import Objective
from telemetry.slo.alerts import Firing, status
from telemetry.slo.budget import remaining_ratio
from telemetry.slo.burn_rate import burn_rate
from telemetry.slo.evaluate import Burn, Counted, evaluate
from telemetry.slo.windows import LEVELS

MAX_POINTS = 400


def slo_report(engine: SloEngine, now_s: float) -> SloReport:
    """Report every objective of every model as of now."""
    return SloReport(
        at=now_s,
        slot_s=SLOT_S,
        models=[_activity_report(activity) for activity in engine.recent.activity(now_s)],
        slos=[_objective_report(engine, judged, now_s) for judged in engine.judged(now_s)],
    )


def _activity_report(activity: ModelActivity) -> ModelActivityReport:
    return ModelActivityReport(
        model=activity.model,
        version=activity.version,
        requests_per_s=activity.requests_per_s,
        error_ratio=activity.error_ratio,
        p50_s=activity.p50_s,
        p99_s=activity.p99_s,
    )


def _objective_report(engine: SloEngine, judged: Judged, now_s: float) -> ObjectiveReport:
    objective, model, found = judged.objective, judged.model, judged.evaluation
    alerts = _alert_reports(engine, judged)
    firing = [alert.severity for alert in alerts if alert.state == "firing"]
    return ObjectiveReport(
        name=objective.name,
        owner=objective.owner,
        model=model,
        target=objective.target,
        period_s=objective.period_s,
        within_s=objective.within_s,
        status=status(firing, found.period, objective.target).value,
        good=found.period.good,
        bad=found.period.bad,
        ignored=found.period.ignored,
        remaining_ratio=found.remaining_ratio,
        is_enough=found.is_enough,
        exhaustion_s=found.exhaustion_s,
        burn=[_burn_report(burn) for burn in found.burn],
        alerts=alerts,
        recent=[
            TransitionReport(one.state, one.alert.name, one.alert.severity, one.at_s)
            for one in engine.alerts.recent(objective.name, model)
        ],
        versions=_version_reports(engine, objective, model, now_s),
    )


def _alert_reports(engine: SloEngine, judged: Judged) -> list[AlertReport]:
    reports = []
    for alert, verdict in zip(judged.objective.alerts, judged.evaluation.verdicts, strict=True):
        state = engine.alerts.of(alert_key(judged.objective, judged.model, alert))
        reports.append(
            AlertReport(
                severity=alert.severity,
                name=alert.name,
                factor=alert.factor,
                long_s=alert.long_s,
                short_s=alert.short_s,
                long_burn=verdict.long_burn,
                short_burn=verdict.short_burn,
                state=state.state.value,
                since=state.since_s if state.state is Firing.FIRING else None,
                held_back=verdict.held_back,
            )
        )
    return reports


def _version_reports(engine: SloEngine, objective: Objective, model: str, now_s: float) -> list[VersionBudgetReport]:
    reports = []
    for version in engine.counts.versions(objective.name, model):
        found = evaluate(objective, engine.counts.of_version(objective.name, model, version), now_s)
        reports.append(
            VersionBudgetReport(
                version=version,
                good=found.period.good,
                bad=found.period.bad,
                ignored=found.period.ignored,
                remaining_ratio=found.remaining_ratio,
                burn=[_burn_report(burn) for burn in found.burn],
            )
        )
    return reports


def _burn_report(burn: Burn) -> BurnReport:
    return BurnReport(burn.window_s, burn.burn_rate, burn.events.good, burn.events.bad)


def history_report(engine: SloEngine, question: HistoryQuestion, now_s: float) -> SloHistoryReport:
    """Report the past of one objective of a model, the step that has just begun included.

    Far back only coarse slots are kept; a window that is shorter than those is answered by the slots that it touches.

    Raises:
        Refused: there is no such objective, or no such version of it.
    """
    slo, model, version = question.slo, question.model, question.version
    objective = next((one for one in engine.objectives.get(model, ()) if one.name == slo), None)
    if objective is None:
        raise Refused("objective_not_found", f"The model {model[:64]} has no objective {slo[:64]}.")
    if version is not None and version not in engine.counts.versions(slo, model):
        raise Refused("objective_not_found", f"The objective {slo} counts no version {version[:64]} of {model} apart.")
    step_s = history_step_s(question.span_s)
    counts = engine.counts
    counted = counts.of(slo, model) if version is None else counts.of_version(slo, model, version).merged()
    end_s = ceil(now_s / step_s) * step_s
    first_s = end_s - ceil(question.span_s / step_s) * step_s
    points = [_point(objective, counted, start_s, step_s) for start_s in range(first_s, end_s, step_s)]
    return SloHistoryReport(slo, model, step_s, points)


def history_step_s(span_s: float) -> int:
    """Return the length of a step: whole slots of the finest level that reaches so far back."""
    for level in LEVELS:
        step_s = ceil(span_s / (MAX_POINTS * level.slot_s)) * level.slot_s
        if span_s + 2 * step_s <= level.reach_s:
            break
    return step_s


def _point(objective: Objective, counted: Counted, start_s: int, step_s: int) -> PointReport:
    end_s = start_s + step_s
    events = counted.count(step_s, end_s)
    target = objective.target
    return PointReport(
        start_s=start_s,
        good=events.good,
        bad=events.bad,
        ignored=events.ignored,
        remaining_ratio=remaining_ratio(counted.count(objective.period_s, end_s), target),
        burn={f"{window_s:g}": burn_rate(counted.count(window_s, end_s), target) for window_s in windows(objective)},
    )
