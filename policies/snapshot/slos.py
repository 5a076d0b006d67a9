"""The objectives of a generation: what share of events must be good, and which alerts tell when it is not."""

from typing import Literal

from msgspec import Struct

EventSort = Literal["requests", "loads", "labels"]
"""What an objective counts: requests, loads of pods, or answers whose label was told later."""


class BurnAlert(Struct, frozen=True):
    """An alert of an objective: the error budget burns faster than ``factor`` in both windows.

    Attributes:
        severity: "page" or "ticket".
        name: what tells it from the other alerts of its objective, such as "page 1h".
    """

    severity: str
    name: str
    factor: float
    long_s: float
    short_s: float


class Guards(Struct, frozen=True):
    """What must hold beside the burn rates before an alert fires, so that one failure at night wakes nobody.

    Attributes:
        min_events: fewer in the long window are not enough data; 0 is off.
        min_bad_events: fewer in the long window do not fire; 0 is off.
        chance_below: fire only if chance alone would make as many bad events less often than this; 0 is off.
    """

    min_events: int = 0
    min_bad_events: int = 0
    chance_below: float = 0.01


class Objective(Struct, frozen=True):
    """What share of a model's requests, of its pods' loads or of its labelled answers must be good.

    Attributes:
        model: "" for every route that names the objective.
        period_s: over which the error budget is spent.
        target: share of good events, as the shortest decimal that was written: 0.999.
        status_below: a good answer's status is below this; 0 where a good event is told otherwise.
        within_s: and it came within this time; None for any time.
        ignore_status: answers that say nothing; None ignores every 4xx, which are the caller's own. 499, a caller that
            left, says nothing in either case unless it waited longer than ``within_s`` and is not named.
        by: what it is counted apart by besides the model: "version", "tier".
        first_byte_within_s: instead of ``within_s``: the first byte of a good answer came within this time.
        pod: "ready" for the requests that came to a pod that was; "" where a good event is told otherwise.
        loads_within_s: a good load of a pod takes no longer; None where a good event is told otherwise.
        label: "right" for the answers whose label was; "" where a good event is told otherwise.
        likely_within_s: a ticket says that the budget ends within this time at the pace of now; 0 is off.
        tells_exhausted: a ticket says that the budget is spent.
    """

    name: str
    owner: str
    period_s: float
    target: float
    status_below: int = 0
    within_s: float | None = None
    ignore_status: tuple[int, ...] | None = None
    model: str = ""
    by: tuple[str, ...] = ("version",)
    alerts: tuple[BurnAlert, ...] = ()
    guards: Guards = Guards()
    first_byte_within_s: float | None = None
    pod: str = ""
    loads_within_s: float | None = None
    label: str = ""
    likely_within_s: float = 0.0
    tells_exhausted: bool = False

    @property
    def events(self) -> EventSort:
        """What it counts."""
        if self.loads_within_s is not None:
            return "loads"
        return "labels" if self.label else "requests"
