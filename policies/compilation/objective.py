"""Turns what ``slos.yaml`` says of an objective into what is counted and what fires."""

from policies import units
from policies.burn_alerts import usual_alerts, usual_likely_within_s
from policies.compilation.values import optional_duration
from policies.schema.slos import BurnWindowsWritten, SloWritten
from policies.snapshot.slos import BurnAlert, Guards, Objective


def objective_of(written: SloWritten) -> Objective:
    """An objective with its alerts, those that are usual for its period where none are written."""
    usual, good = Objective("", "", 0.0, 0.0), written.good
    period_s, target = units.duration_s(written.window), units.fraction(written.objective)
    return Objective(
        name=written.name,
        owner=written.owner,
        period_s=period_s,
        target=target,
        status_below=good.status_below or usual.status_below,
        within_s=optional_duration(good.within),
        ignore_status=tuple(sorted(written.ignore.status)) if written.ignore else None,
        model=written.route or usual.model,
        by=usual.by if written.by is None else tuple(sorted(written.by, reverse=True)),
        alerts=_alerts(written, period_s, target),
        guards=_guards(written),
        first_byte_within_s=optional_duration(good.first_byte_within),
        pod=good.pod or usual.pod,
        loads_within_s=optional_duration(good.loads_within),
        label=good.label or usual.label,
        likely_within_s=_likely_within_s(written, period_s),
        tells_exhausted=written.ticket != [],
    )


def _likely_within_s(written: SloWritten, period_s: float) -> float:
    if written.likely_within is not None:
        return units.duration_s(written.likely_within)
    return 0.0 if written.ticket == [] else usual_likely_within_s(period_s)


def _alerts(written: SloWritten, period_s: float, target: float) -> tuple[BurnAlert, ...]:
    """The alerts that are written, and for a severity of which nothing is written, the usual ones."""
    usual = usual_alerts(period_s, target)
    alerts: list[BurnAlert] = []
    for severity, given in (("page", written.page), ("ticket", written.ticket)):
        if given is None:
            alerts += [alert for alert in usual if alert.severity == severity]
        else:
            alerts += [_alert(severity, windows) for windows in given]
    return tuple(alerts)


def _alert(severity: str, written: BurnWindowsWritten) -> BurnAlert:
    long_s = units.duration_s(written.long)
    name = f"{severity} {units.duration_text(long_s)}"
    return BurnAlert(severity, name, written.burn, long_s, units.duration_s(written.short))


def _guards(written: SloWritten) -> Guards:
    usual = Guards()
    return Guards(
        min_events=written.min_events or usual.min_events,
        min_bad_events=written.min_bad_events or usual.min_bad_events,
        chance_below=usual.chance_below if written.chance_below is None else units.fraction(written.chance_below),
    )
