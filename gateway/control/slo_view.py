"""Turns what the engine of objectives counted and decided into what the management API reports."""

from __future__ import annotations

from math import ceil

import msgspec

from gateway.control.messages import SLOT_S
from gateway.control.recent_models import ModelActivity, counted_s
from gateway.control.slo_engine import Judged, SloEngine, alert_key
from gateway.control.slo_reports import (
    ActivityReport,
    AlertReport,
    BurnReport,
    GuardsReport,
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
from policies.snapshot.slos import Objective
from telemetry.slo.alerts import Alert, Tier, alerts_of, likely_factor, status, windows
from telemetry.slo.attended import Attended
from telemetry.slo.budget import remaining_ratio
from telemetry.slo.burn_rate import burn_rate
from telemetry.slo.evaluate import Burn, Counted, evaluate
from telemetry.slo.events import EventCount
from telemetry.slo.links import runbook
from telemetry.slo.windows import LEVELS
from telemetry.slo.wording import good_when

MAX_POINTS = 400
# A day of thirty: what is bad now and forgotten by then is what people wait for.
_REGAINED_IN = 1 / 30


def slo_report(engine: SloEngine, now_s: float) -> SloReport:
    """Report every objective of every model as of now."""
    return SloReport(
        at=now_s,
        slot_s=SLOT_S,
        models=[_activity_report(activity) for activity in engine.recent.activity(now_s)],
        slos=[_objective_report(engine, judged, now_s) for judged in engine.judged(now_s)],
    )


def activity_report(engine: SloEngine, within_s: float, now_s: float) -> ActivityReport:
    """Report what every version did lately."""
    span_s = max(SLOT_S, round(counted_s(now_s, within_s), 3))
    return ActivityReport(
        at=now_s, span_s=span_s, models=[_activity_report(one) for one in engine.recent.activity(now_s, within_s)]
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
        events=objective.events,
        good_when=good_when(objective),
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
        guards=GuardsReport(*msgspec.structs.astuple(objective.guards)),
        likely_within_s=objective.likely_within_s,
        regained_ratio=_regained(engine, judged, now_s),
        regained_in_s=objective.period_s * _REGAINED_IN,
    )


def _regained(engine: SloEngine, judged: Judged, now_s: float) -> float | None:
    """Return what would be left of the budget if nothing more were bad, a while from now."""
    objective, period = judged.objective, judged.evaluation.period
    later = engine.counts.of(objective.name, judged.model).count(objective.period_s * (1 - _REGAINED_IN), now_s)
    return remaining_ratio(EventCount(max(0, period.total - later.bad), later.bad), objective.target)


def _alert_reports(engine: SloEngine, judged: Judged) -> list[AlertReport]:
    reports = []
    for alert, verdict in zip(alerts_of(judged.objective), judged.evaluation.verdicts, strict=True):
        state = engine.alerts.of(alert_key(judged.objective, judged.model, alert))
        reports.append(
            AlertReport(
                severity=alert.severity,
                name=alert.name,
                tier=alert.tier.value,
                factor=_factor(judged, alert),
                long_s=alert.long_s,
                short_s=alert.short_s,
                long_burn=verdict.long_burn,
                short_burn=verdict.short_burn,
                state=state.state.value,
                since=state.since_s,
                held_back=verdict.held_back,
                runbook=runbook(engine.mesh.alerts.runbooks, alert.severity, alert.tier),
            )
        )
    return reports


def _factor(judged: Judged, alert: Alert) -> float:
    if alert.tier is Tier.LIKELY:
        return likely_factor(judged.objective, judged.evaluation.period)
    return alert.factor


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
    objective = engine.objective(slo, model)
    if version is not None and version not in engine.counts.versions(slo, model):
        raise Refused("objective_not_found", f"The objective {slo} counts no version {version[:64]} of {model} apart.")
    step_s = history_step_s(question.span_s)
    counts = engine.counts
    counted = counts.of(slo, model) if version is None else counts.of_version(slo, model, version).merged()
    end_s = ceil(now_s / step_s) * step_s
    first_s = end_s - ceil(question.span_s / step_s) * step_s
    attended = Attended(engine.attended.times)
    attended.note(now_s)  # whoever answers is there
    points = [_point(objective, counted, attended, start_s, step_s) for start_s in range(first_s, end_s, step_s)]
    return SloHistoryReport(slo, model, step_s, points)


def history_step_s(span_s: float) -> int:
    """Return the length of a step: whole slots of the finest level that reaches so far back."""
    for level in LEVELS:
        step_s = ceil(span_s / (MAX_POINTS * level.slot_s)) * level.slot_s
        if span_s + 2 * step_s <= level.reach_s:
            break
    return step_s


def _point(objective: Objective, counted: Counted, attended: Attended, start_s: int, step_s: int) -> PointReport:
    end_s = start_s + step_s
    events = counted.count(step_s, end_s)
    if not events and not attended.has(start_s, end_s):
        return PointReport(start_s, 0, 0, 0, None, {}, is_known=False)
    target = objective.target
    return PointReport(
        start_s=start_s,
        good=events.good,
        bad=events.bad,
        ignored=events.ignored,
        remaining_ratio=remaining_ratio(counted.count(objective.period_s, end_s), target),
        burn={f"{window_s:g}": burn_rate(counted.count(window_s, end_s), target) for window_s in windows(objective)},
    )
