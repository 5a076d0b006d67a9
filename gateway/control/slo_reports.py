"""What the management API answers of objectives, as types; its OpenAPI is made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What a history may span: from a minute to as long as slots are kept.
MIN_SPAN_S = 60.0
MAX_SPAN_S = 90 * 86400.0

# What the activity of versions may span: from a slot to as long as it is remembered.
MIN_ACTIVITY_S = 10.0
MAX_ACTIVITY_S = 300.0

SloStatus = Literal["ok", "page", "ticket", "no_data", "exhausted"]


@dataclass(frozen=True)
class ModelActivityReport:
    """One version in the last five minutes, or in what the report says.

    `error_ratio` is the share of statuses of 500 and more; the times are those of answers below 400, null without any.
    A version that had no request is not there.
    """

    model: str
    version: str
    requests_per_s: float
    error_ratio: float
    p50_s: float | None
    p99_s: float | None


@dataclass(frozen=True)
class BurnReport:
    """How many times faster than allowed the error budget was spent in one window; 0 without events."""

    window_s: float
    burn_rate: float
    good: int
    bad: int


@dataclass(frozen=True)
class AlertReport:
    """One alert. It fires when both windows burn faster than `factor`; `held_back` says why it does not even so.

    `tier` is fast or slow for burn rates, likely for the budget's likely end, whose factor changes with what is left of
    it, and exhausted for its end. `since` is when it began to fire or was resolved, null while it never fired.
    `runbook` is the page that says what to do.
    """

    severity: str
    name: str
    factor: float
    long_s: float
    short_s: float
    long_burn: float
    short_burn: float
    state: Literal["inactive", "firing", "resolved"]
    since: float | None
    held_back: str
    tier: Literal["fast", "slow", "likely", "exhausted"] = "fast"
    runbook: str = ""


@dataclass(frozen=True)
class TransitionReport:
    """An alert began or ceased to fire, `at` in seconds since the epoch."""

    state: Literal["firing", "resolved"]
    name: str
    severity: str
    at: float


@dataclass(frozen=True)
class VersionBudgetReport:
    """What one version contributes; `remaining_ratio` is what would be left if it alone had had all requests."""

    version: str
    good: int
    bad: int
    ignored: int
    remaining_ratio: float | None
    burn: list[BurnReport]


@dataclass(frozen=True)
class GuardsReport:
    """What must hold beside the burn rates before an alert fires; 0 is off."""

    min_events: int
    min_bad_events: int
    chance_below: float


@dataclass(frozen=True)
class ObjectiveReport:
    """One objective for one model; `events` says what it counts, and `good_when`, a sentence, when one is good.

    Counts are of the period. `remaining_ratio` is the share of the error budget that is left, below 0 when more was
    spent, null without events; `is_enough` says whether there were enough events to trust it. `exhaustion_s` is when
    the budget ends at the pace of the shortest long window of its alerts: 0 once it has, null when it does not, as
    while the shortest window of all has nothing bad. The end of the budget is foretold `likely_within_s` ahead; 0 is
    not at all. `regained_ratio` is what would be left `regained_in_s` from now if as much came as before and nothing of
    it were bad, for the period forgets what was bad at its beginning.
    """

    name: str
    owner: str
    model: str
    target: float
    period_s: float
    within_s: float | None
    events: Literal["requests", "loads", "labels"]
    good_when: str
    status: SloStatus
    good: int
    bad: int
    ignored: int
    remaining_ratio: float | None
    is_enough: bool
    exhaustion_s: float | None
    burn: list[BurnReport]
    alerts: list[AlertReport]
    recent: list[TransitionReport]
    versions: list[VersionBudgetReport]
    guards: GuardsReport = GuardsReport(0, 0, 0.0)
    likely_within_s: float = 0.0
    regained_ratio: float | None = None
    regained_in_s: float = 0.0


@dataclass(frozen=True)
class SloReport:
    """Every objective for every model that names it. `at` is in seconds since the epoch."""

    at: float
    slot_s: int
    models: list[ModelActivityReport]
    slos: list[ObjectiveReport]


@dataclass(frozen=True)
class ActivityReport:
    """What every version that was asked did lately: in the last `span_s` seconds, whole slots of ten seconds.

    `at` is in seconds since the epoch.
    """

    at: float
    span_s: float
    models: list[ModelActivityReport]


@dataclass(frozen=True)
class HistoryQuestion:
    """Which past is asked for; a `version` of null asks for all versions together."""

    slo: str
    model: str
    version: str | None
    span_s: float


@dataclass(frozen=True)
class PointReport:
    """What happened in one step; burn rates are those of windows that end with it, by their length in seconds.

    Where `is_known` is false nobody counted: there is no burn rate, and what was left of the budget is null.
    """

    start_s: float
    good: int
    bad: int
    ignored: int
    remaining_ratio: float | None
    burn: dict[str, float]
    is_known: bool = True


@dataclass(frozen=True)
class SloHistoryReport:
    """An objective's past, oldest first, in at most 400 steps."""

    slo: str
    model: str
    step_s: int
    points: list[PointReport]
