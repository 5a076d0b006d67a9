"""Each time that an alert fired is remembered, with its worst and with who was told, over restarts too."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.slo_kept import AlertKey, Episode, Remembered, Telling
from gateway.control.slo_past import MAX_OVER, MAX_TELLINGS, AlertPast, with_telling, with_waiting
from gateway.control.slo_past_view import alerts_report, slots_report
from telemetry.slo.alerts import Tier
from telemetry.slo.windows import LEVELS
from tests.gateway.control.alerting.notices import notice
from tests.gateway.control.objectives import START_S, engine, events, tally

FIRES = notice("page fast", began_s=100.0)
OVER = notice("page fast", began_s=100.0, ended_s=400.0)
KEY = FIRES.alert


def fired(past: AlertPast, *burns: float) -> AlertPast:
    for burn in burns:
        past.fires(KEY, Tier.FAST, 100.0, burn)
    return past


def test_an_alert_that_fires_is_remembered_with_its_worst() -> None:
    past = fired(AlertPast(), 15.0, 40.0, 20.0)
    assert past.episodes == (Episode(KEY, "fast", 100.0, None, 40.0),)
    past.ends(KEY, 400.0)
    assert past.episodes == (Episode(KEY, "fast", 100.0, 400.0, 40.0),)
    past.ends(KEY, 500.0)  # it does not fire
    past.fires(KEY, Tier.FAST, 600.0, 16.0)
    assert [one.began_s for one in past.episodes] == [100.0, 600.0]


def test_so_many_are_remembered_and_all_that_fire() -> None:
    past = AlertPast()
    for at in range(MAX_OVER + 5):
        past.fires(KEY, Tier.FAST, at, 15.0)
        past.ends(KEY, at + 0.5)
    past.fires(AlertKey("other", "digits", "page", "page fast"), Tier.FAST, 1.0, 15.0)
    assert len(past.episodes) == MAX_OVER + 1
    assert past.episodes[0].began_s == 5
    assert past.episodes[-1].ended_s is None


def test_who_was_told_of_its_beginning_and_its_end() -> None:
    past = fired(AlertPast(), 15.0)
    past.told("webhook/a", [FIRES], "failed", 101.0, "503")
    past.told("webhook/a", [FIRES], "ok", 103.0)
    past.told("alertmanager/b", [FIRES], "ok", 102.0)
    past.told("alertmanager/b", [FIRES], "failed", 162.0, "it is told again and again")
    past.ends(KEY, 400.0)
    past.told("webhook/a", [OVER], "refused", 401.0, "400")
    past.told("webhook/a", [replace(OVER, ended_s=999.0)], "ok", 402.0)  # of another time that it fired
    (episode,) = past.episodes
    assert episode.told == (
        Telling("webhook/a", "begin", "ok", 103.0),
        Telling("alertmanager/b", "begin", "ok", 102.0),
        Telling("webhook/a", "end", "refused", 401.0, "400"),
    )


def test_a_beginning_that_is_told_after_the_end_is_noted_where_it_belongs() -> None:
    past = fired(AlertPast(), 15.0)
    past.ends(KEY, 400.0)
    past.told("webhook/a", [FIRES], "ok", 401.0)
    assert [one.what for one in past.episodes[0].told] == ["begin"]


def test_tellings_are_bounded() -> None:
    episode = Episode(KEY, "fast", 100.0, None, 15.0)
    for at in range(MAX_TELLINGS + 3):
        episode = with_telling(episode, Telling(f"webhook/{at}", "begin", "ok", 1.0))
    assert len(episode.told) == MAX_TELLINGS


def test_who_was_not_tried_yet_is_said_to_wait() -> None:
    episode = with_telling(Episode(KEY, "fast", 100.0, None, 15.0), Telling("a", "begin", "failed", 1.0, "503"))
    seen = with_waiting(episode, {"a": (FIRES,), "b": (FIRES,), "c": (OVER,), "d": (notice("ticket slow"),)}, 7.0)
    assert [(one.to, one.result) for one in seen.told] == [("a", "failed"), ("b", "waits")]


def test_a_restart_goes_on_with_what_was_kept() -> None:
    before = fired(AlertPast(), 40.0)
    before.told("a", [FIRES], "ok", 101.0)
    before.fires(AlertKey("other", "digits", "page", "page fast"), Tier.FAST, 50.0, 15.0)
    before.ends(AlertKey("other", "digits", "page", "page fast"), 60.0)
    after = AlertPast()
    after.fires(KEY, Tier.FAST, 200.0, 20.0)  # before the file was read
    after.told("b", [FIRES], "ok", 201.0)
    after.restore(before.episodes)
    over, now = after.episodes
    assert over == before.episodes[0]
    assert (now.began_s, now.highest_burn, [one.to for one in now.told]) == (100.0, 40.0, ["a", "b"])
    after.restore(before.episodes)
    assert after.episodes == (over, now)


def test_the_engine_remembers_what_its_alerts_did() -> None:
    slos = engine()
    for minute in range(10):
        at_s = START_S + 60 * minute
        slos.take(1, tally(at_s, events(100, 10 if minute < 4 else 0)), at_s)
        slos.judge_alerts(at_s + 60)
    report = alerts_report(slos, {}, START_S + 900)
    page = next(one for one in report.alerts if one.severity == "page")
    assert (page.slo, page.model, page.tier, page.runbook) == (
        "digits-availability",
        "digits",
        "fast",
        "docs/runbooks/slo-page-fast.md",
    )
    assert (page.began_s, page.ended_s) == (START_S + 60, START_S + 9 * 60)
    assert page.highest_burn == 1000 * 10 / 110
    assert slos.take_changes(START_S + 900).episodes == slos.past.episodes


def test_a_restart_goes_on_with_the_episode_of_an_alert_that_still_fires() -> None:
    before = engine()
    before.take(1, tally(START_S, events(10, 90)), START_S)
    before.judge_alerts(START_S + 10)
    kept = before.take_changes(START_S + 10)
    after = engine()
    after.restore(Remembered(firing=dict(kept.firing), transitions=kept.transitions, episodes=kept.episodes))
    after.judge_alerts(START_S + 20)  # its counts are not restored here, so it is over
    assert [(one.began_s, one.ended_s) for one in after.past.episodes] == [(START_S + 10, START_S + 20)] * 2
    assert {one.highest_burn for one in after.past.episodes} == {900.0}


def test_slots_are_told_of_every_level_without_those_that_are_empty() -> None:
    slos = engine()
    slos.take(1, tally(START_S, events(9, 1)), START_S)
    slos.take(1, tally(START_S + 3600, events(5)), START_S + 3600)
    report = slots_report(slos, "digits-availability", "digits", START_S + 3700)
    assert [(level.slot_s, level.reach_s) for level in report.levels] == [(one.slot_s, one.reach_s) for one in LEVELS]
    for level in report.levels:
        assert (level.starts_s, level.good, level.bad) == ((START_S, START_S + 3600), (9, 5), (1, 0))
