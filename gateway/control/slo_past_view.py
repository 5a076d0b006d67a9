"""Turns what is kept of objectives' past into what the management API answers."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.control.slo_engine import SloEngine
from gateway.control.slo_kept import Episode, Untold
from gateway.control.slo_past import with_waiting
from gateway.control.slo_past_reports import AlertsReport, EpisodeReport, LevelReport, SlotsReport, TellingReport
from telemetry.slo.alerts import Tier
from telemetry.slo.events import EventCount
from telemetry.slo.links import runbook
from telemetry.slo.windows import LEVELS, Level


def slots_report(engine: SloEngine, slo: str, model: str, now_s: float) -> SlotsReport:
    """Report what is counted of one objective of a model.

    Raises:
        Refused: there is no such objective.
    """
    engine.objective(slo, model)
    counted = engine.counts.of(slo, model)
    levels = tuple(_level_report(level, counted.slots(level, 0.0)) for level in LEVELS)
    attended = tuple((one.from_s, one.to_s) for one in engine.attended.times)
    return SlotsReport(slo, model, now_s, levels, attended)


def _level_report(level: Level, slots: Sequence[tuple[int, EventCount]]) -> LevelReport:
    return LevelReport(
        slot_s=level.slot_s,
        reach_s=level.reach_s,
        starts_s=tuple(start_s for start_s, _ in slots),
        good=tuple(events.good for _, events in slots),
        bad=tuple(events.bad for _, events in slots),
    )


def alerts_report(engine: SloEngine, untold: Untold, now_s: float) -> AlertsReport:
    """Report when alerts fired."""
    runbooks = engine.mesh.alerts.runbooks
    episodes = [with_waiting(one, untold, now_s) for one in engine.past.episodes]
    newest_first = sorted(episodes, key=lambda one: one.began_s, reverse=True)
    return AlertsReport(now_s, tuple(untold), tuple(_episode_report(one, runbooks) for one in newest_first))


def _episode_report(episode: Episode, runbooks: str) -> EpisodeReport:
    key = episode.alert
    return EpisodeReport(
        slo=key.slo,
        model=key.model,
        severity=key.severity,
        name=key.name,
        tier=episode.tier,
        runbook=runbook(runbooks, key.severity, Tier(episode.tier)),
        began_s=episode.began_s,
        ended_s=episode.ended_s,
        highest_burn=episode.highest_burn,
        told=tuple(TellingReport(one.to, one.what, one.result, one.at_s, one.why) for one in episode.told),
    )
