"""Of each alert the latest is told, in time, again after a failure, and never twice."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.alerting.outbox import (
    END_IS_NEWS_S,
    LONGEST_PAUSE_S,
    MAX_UNTOLD,
    TELL_AGAIN_S,
    Outbox,
    Outboxes,
    Result,
)
from gateway.control.slo_kept import AlertKey
from tests.gateway.control.alerting.notices import START_S, notice

FIRES, OTHER = notice("page fast"), notice("ticket slow")
OVER = notice("page fast", ended_s=START_S + 600)


def test_what_began_and_ended_while_nobody_could_be_told_is_told_once() -> None:
    box = Outbox()
    box.put([FIRES, OTHER])
    box.put([OVER])
    assert box.waiting == (OTHER, OVER)


def test_what_was_told_waits_no_more_and_is_counted() -> None:
    box = Outbox()
    box.put([FIRES, OTHER])
    box.told([FIRES], 5.0)
    assert box.waiting == (OTHER,)
    assert box.counts[Result.OK] == 1


def test_what_changed_while_it_was_told_waits_on_but_not_for_other_words() -> None:
    box = Outbox()
    box.put([FIRES])
    box.put([OVER])
    box.told([FIRES], 5.0)
    assert box.waiting == (OVER,)
    box.put([OTHER])
    box.told([replace(OTHER, annotations={"summary": "worse"})], 6.0)
    assert box.waiting == (OVER,)


def test_each_failure_is_followed_by_a_longer_pause_up_to_a_minute() -> None:
    box, now_s, pauses = Outbox(), 0.0, []
    box.put([FIRES])
    for _ in range(9):
        assert box.is_due(now_s, is_firing=False)
        box.failed([FIRES], now_s, chance=1.0)
        pauses.append(box.due_s - now_s)
        assert not box.is_due(box.due_s - 0.1, is_firing=False)
        now_s = box.due_s
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, *[LONGEST_PAUSE_S] * 3]
    assert box.counts[Result.FAILED] == 9
    assert box.waiting == (FIRES,)
    box.told([FIRES], now_s)
    assert (box.failures, box.is_due(now_s, is_firing=False)) == (0, False)


def test_what_is_refused_is_given_up() -> None:
    box = Outbox()
    box.put([FIRES, OTHER])
    box.refused([FIRES], 0.0, chance=0.0)
    assert box.waiting == (OTHER,)
    assert box.counts[Result.REFUSED] == 1
    assert not box.is_due(0.4, is_firing=True)


def test_what_fires_is_told_again_after_a_minute_where_that_is_asked_for() -> None:
    box = Outbox()
    assert box.is_due(0.0, is_firing=True)
    box.told([FIRES], 10.0)
    assert not box.is_due(10.0 + TELL_AGAIN_S - 1, is_firing=True)
    assert box.is_due(10.0 + TELL_AGAIN_S, is_firing=True)
    assert not box.is_due(10.0 + TELL_AGAIN_S, is_firing=False)


def test_beyond_the_bound_the_oldest_is_dropped_and_counted() -> None:
    box = Outbox()
    many = [
        replace(FIRES, alert=AlertKey("slo", f"model-{number}", "page", "page fast"))
        for number in range(MAX_UNTOLD + 3)
    ]
    box.put(many)
    assert (len(box.waiting), box.waiting[0], box.counts[Result.DROPPED]) == (MAX_UNTOLD, many[3], 3)


def test_an_end_is_no_news_after_a_day_and_what_fires_stays_news() -> None:
    box = Outbox()
    box.put([OVER, OTHER])
    box.drop_old(START_S + 600 + END_IS_NEWS_S)
    assert box.waiting == (OVER, OTHER)
    box.drop_old(START_S + 601 + END_IS_NEWS_S)
    assert list(box.waiting) == [OTHER]
    assert box.counts[Result.DROPPED] == 1


def test_who_is_new_is_told_what_fires_and_who_is_known_is_not_told_again() -> None:
    boxes = Outboxes()
    boxes.follow(["a"], [])
    boxes.put([FIRES])
    boxes.by_name["a"].told([FIRES], 0.0)
    boxes.follow(["a", "b"], [FIRES])
    assert boxes.untold == {"a": (), "b": (FIRES,)}
    boxes.follow(["b"], [FIRES])
    assert boxes.untold == {"b": (FIRES,)}


def test_a_restart_tells_nobody_twice_and_whom_it_does_not_know_what_fires() -> None:
    boxes = Outboxes()
    boxes.follow(["known", "waits", "new"], [])
    boxes.restore({"known": (), "waits": (OTHER,), "gone": (FIRES,)}, [FIRES])
    assert boxes.untold == {"known": (), "waits": (OTHER,), "new": (FIRES,)}
    boxes.put([OVER])
    assert boxes.untold == {"known": (OVER,), "waits": (OTHER, OVER), "new": (OVER,)}


def test_what_became_of_telling_is_counted_by_receiver() -> None:
    boxes = Outboxes()
    boxes.follow(["a"], [FIRES])
    boxes.by_name["a"].told([FIRES], 0.0)
    assert boxes.counts == {("a", "ok"): 1, ("a", "failed"): 0, ("a", "refused"): 0, ("a", "dropped"): 0}
