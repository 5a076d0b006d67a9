"""Traffic of ten kinds and when each alert of 99.9 % in 30 days fires upon it, reckoned by hand from the definitions.

Steps are minutes, and an alert that fires in `[a, b)` does so from the end of minute `a` until that of minute `b`.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from deploy.prometheus.scenarios import Scenario, Span, Stretch
from policies.burn_alerts import usual_alerts
from policies.snapshot.slos import Guards, Objective

STEP_S: Final = 60
_DAY: Final = 1440
# As long as the longest window: before it nothing matters.
LONG_HISTORY: Final = Stretch(3 * _DAY, 1000)


def objective(name: str, target: float = 0.999) -> Objective:
    """Return an objective with the usual alerts and no guards: plain arithmetic."""
    period_s = 30 * 86_400.0
    alerts = usual_alerts(period_s, target)
    return Objective(name, "sre", period_s, target, 500, alerts=alerts, guards=Guards(chance_below=0.0))


def after(history: Stretch, name: str, *stretches: Stretch) -> Scenario:
    """Return traffic with a history."""
    return Scenario(name, (history, *stretches), history.steps)


def with_history(scenario: Scenario, steps: int) -> Scenario:
    """Return a scenario with a shorter history."""
    first = replace(scenario.stretches[0], steps=steps)
    return Scenario(scenario.name, (first, *scenario.stretches[1:]), steps)


S1: Final = after(LONG_HISTORY, "S1: 2 % bad for an hour", Stretch(60, 980, 20), Stretch(30, 1000))
S2: Final = after(LONG_HISTORY, "S2: 0.7 % bad for 400 minutes", Stretch(400, 993, 7), Stretch(30, 1000))
S3: Final = after(LONG_HISTORY, "S3: 0.4 % bad for a day", Stretch(_DAY, 996, 4), Stretch(300, 1000))
S4: Final = after(LONG_HISTORY, "S4: 0.2 % bad for two days", Stretch(2 * _DAY, 998, 2), Stretch(200, 1000))
S5: Final = after(LONG_HISTORY, "S5: nothing good for ten minutes", Stretch(10, 0, 1000), Stretch(370, 1000))
S6: Final = Scenario("S6: exactly 14.4 times too fast for two hours", (Stretch(120, 9856, 144),))
S7: Final = after(
    Stretch(3 * _DAY, 1), "S7: one failure in a minute with one request", Stretch(1, 0, 1), Stretch(30, 1)
)
S8: Final = after(LONG_HISTORY, "S8: two hours without traffic", Stretch(120, 0))
S9: Final = after(LONG_HISTORY, "S9: all bad for an hour, with 90 %", Stretch(60, 0, 1000))
S10: Final = Scenario(
    "S10: 16 busy hours without failure, and eight quiet ones with 10 %", (Stretch(960, 1000), Stretch(480, 9, 1))
)

Expected = dict[str, list[Span]]
_NEVER: Final[Expected] = {name: [] for name in ("page fast", "page slow", "ticket fast", "ticket slow")}

TABLE: Final[list[tuple[Scenario, float, Expected]]] = [
    (S1, 0.999, _NEVER | {"page fast": [Span(44, 62)]}),
    (S2, 0.999, _NEVER | {"page slow": [Span(309, 405)]}),
    (S3, 0.999, _NEVER | {"ticket fast": [Span(1081, 1470)], "ticket slow": [Span(1081, 1710)]}),
    (S4, 0.999, _NEVER | {"ticket slow": [Span(2161, 3060)]}),
    (
        S5,
        0.999,
        {
            "page fast": [Span(1, 15)],
            "page slow": [Span(3, 40)],
            "ticket fast": [Span(5, 130)],
            "ticket slow": [Span(5, 370)],
        },
    ),
    (
        S6,
        0.999,
        _NEVER | {"page slow": [Span(1, None)], "ticket fast": [Span(1, None)], "ticket slow": [Span(1, None)]},
    ),
    (S7, 0.999, _NEVER | {"page fast": [Span(1, 6)]}),
    (S8, 0.999, _NEVER),
    # The fastest burn of 90 % is 10, so it has no page of 14.4.
    (S9, 0.9, {"page slow": [], "ticket fast": [], "ticket slow": []}),
]
