"""Whose level is which, and that every change ends by itself."""

from __future__ import annotations

import pytest

from telemetry.logs.line import Facts, Level
from telemetry.logs.settings import (
    MAX_CHANGED,
    Changed,
    LogSettings,
    TooManyChanged,
    level_for,
    with_change,
    without_change,
)

GATEWAY = Facts(process="gateway", role="worker 1")
POD = Facts(process="pod", model="digits", version="1")
OTHER_POD = Facts(process="pod", model="letters", version="1")
HUB = Facts(process="hub")


@pytest.mark.parametrize(
    ("of", "who", "level"),
    [
        ("", GATEWAY, Level.DEBUG),
        ("", POD, Level.DEBUG),
        ("gateway", GATEWAY, Level.DEBUG),
        ("gateway", POD, Level.INFO),
        ("pods", POD, Level.DEBUG),
        ("pods", HUB, Level.INFO),
        ("digits", POD, Level.DEBUG),
        ("digits", OTHER_POD, Level.INFO),
        ("hub", HUB, Level.DEBUG),
        ("sidecars", Facts(process="sidecar"), Level.DEBUG),
    ],
)
def test_a_change_holds_for_whom_it_names_until_its_time(of: str, who: Facts, level: Level) -> None:
    settings = LogSettings(changed=(Changed(of, "debug", 100.0),))
    assert level_for(settings, who, 99.9) is level
    assert level_for(settings, who, 100.0) is Level.INFO


def test_the_nearest_change_counts() -> None:
    settings = LogSettings(
        "auto", "warning", (Changed("", "error", 9.0), Changed("pods", "info", 9.0), Changed("digits", "debug", 9.0))
    )
    levels = [level_for(settings, who, 0.0) for who in (POD, OTHER_POD, HUB)]
    assert levels == [Level.DEBUG, Level.INFO, Level.ERROR]
    assert level_for(settings, POD, 9.0) is Level.WARNING


def test_a_later_change_of_the_same_replaces_the_earlier_and_one_too_many_is_refused() -> None:
    settings = with_change(LogSettings(), Changed("hub", "debug", 10.0), 0.0)
    settings = with_change(settings, Changed("hub", "error", 20.0), 0.0)
    assert settings.changed == (Changed("hub", "error", 20.0),)
    for number in range(MAX_CHANGED - 1):
        settings = with_change(settings, Changed(f"model-{number}", "debug", 20.0), 0.0)
    with pytest.raises(TooManyChanged):
        with_change(settings, Changed("gateway", "debug", 20.0), 0.0)
    settings = with_change(settings, Changed("hub", "debug", 20.0), 0.0)
    assert len(settings.changed) == MAX_CHANGED
    assert with_change(settings, Changed("hub", "debug", 99.0), 20.0).changed == (Changed("hub", "debug", 99.0),)


def test_a_change_is_taken_back_and_that_of_everybody_takes_all_back() -> None:
    settings = LogSettings(changed=(Changed("hub", "debug", 9.0), Changed("digits", "debug", 9.0)))
    assert without_change(settings, "hub", 0.0).changed == (Changed("digits", "debug", 9.0),)
    assert without_change(settings, "", 0.0).changed == ()
