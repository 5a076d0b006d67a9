"""What was told last is passed on, with how old it is; nothing told is not the same as nothing there."""

from __future__ import annotations

from telemetry.hub.releases import Told, has_rollout, releases_json, with_whole


def test_what_was_just_told_is_passed_on() -> None:
    told = Told({"at_s": 5.0, "rollouts": []}, 5.0)
    assert releases_json(told, 6.0) == {"at_s": 5.0, "rollouts": [], "is_known": True, "error": ""}


def test_what_is_old_says_how_old() -> None:
    told = Told({"rollouts": []}, 5.0, "The gateway does not answer.")
    assert releases_json(told, 17.4) == {
        "rollouts": [],
        "is_known": True,
        "error": "The gateway does not answer. What is shown is 12 s old.",
    }


def test_nothing_told_is_not_known() -> None:
    told = Told(error="The gateway does not answer.")
    assert releases_json(told, 9.0) == {"is_known": False, "error": "The gateway does not answer."}


def test_one_that_was_told_apart_takes_its_place_among_all() -> None:
    every = Told({"rollouts": [{"model": "a"}, {"model": "b"}]}, 5.0)
    assert (has_rollout(every, "b"), has_rollout(every, "c")) == (True, False)
    whole = with_whole(every, "b", Told({"model": "b", "past": 1}, 6.0, "odd"))
    assert (whole.answer, whole.at_s, whole.error) == (
        {"rollouts": [{"model": "a"}, {"model": "b", "past": 1}]},
        5.0,
        "odd",
    )
    assert with_whole(every, "b", Told()) == every
    assert with_whole(Told(error="silent"), "b", Told({"model": "b"})) == Told(error="silent")


def test_what_is_no_list_of_rollouts_has_none() -> None:
    for odd in ({}, {"rollouts": 7}, {"rollouts": [7, "b"]}):
        assert not has_rollout(Told(odd, 1.0), "b")
