"""What of objectives outlives the supervisor: slots, alerts, their transitions, and what is to be told of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct, field

from telemetry.slo.attended import Time
from telemetry.slo.windows import Slots


class Series(NamedTuple):
    """What is counted: an objective of a model, whole where version and tier are "", and what it tells apart."""

    slo: str
    model: str
    version: str
    tier: str


class SlotRow(NamedTuple):
    """The counts of one slot of the level whose slots are this long."""

    level_s: int
    start_s: int
    series: Series
    good: int
    bad: int
    ignored: int


class AlertKey(NamedTuple):
    """One alert of one objective of one model."""

    slo: str
    model: str
    severity: str
    name: str


class Transition(NamedTuple):
    """An alert began or ceased to fire; ``at_s`` is in seconds since the epoch."""

    at_s: float
    state: Literal["firing", "resolved"]
    alert: AlertKey


class Notice(Struct, frozen=True):
    """An alert that fires or is over, as others are told of it.

    Attributes:
        labels: what it is, the same for as long as it fires.
        annotations: what there is to say of it now, for people.
        began_s, ended_s: seconds since the epoch; None while it fires.
    """

    alert: AlertKey
    labels: dict[str, str]
    annotations: dict[str, str]
    began_s: float
    ended_s: float | None = None


class Telling(Struct, frozen=True):
    """What became of telling one receiver that an alert began, or that it is over.

    Attributes:
        what: "begin" or "end".
        result: "ok", "failed" (it is tried again), "refused" or "dropped".
        at_s: seconds since the epoch.
        why: what the receiver or the network said; "" where all is well.
    """

    to: str
    what: str
    result: str
    at_s: float
    why: str = ""


class Episode(Struct, frozen=True):
    """One time that an alert fired.

    Attributes:
        tier: see ``telemetry.slo.alerts.Tier``.
        began_s, ended_s: seconds since the epoch; None while it fires.
        highest_burn: the greatest burn rate of its long window.
        told: what became of telling others, one for each receiver and beginning or end.
    """

    alert: AlertKey
    tier: str
    began_s: float
    ended_s: float | None
    highest_burn: float
    told: tuple[Telling, ...] = ()


Untold = Mapping[str, tuple[Notice, ...]]
"""What each receiver of alerts is still to be told, by its name."""


class Remembered(Struct, frozen=True):
    """What a start finds: events by series, since when alerts fire, and their transitions, oldest first.

    Attributes:
        loads: the number of the last load that was counted, by the pod's instance, longest unseen first.
        episodes: times that alerts fired, oldest first.
    """

    series: dict[Series, Slots] = field(default_factory=dict)
    firing: dict[AlertKey, float] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()
    attended: tuple[Time, ...] = ()
    untold: Untold = field(default_factory=dict)
    loads: dict[str, int] = field(default_factory=dict)
    episodes: tuple[Episode, ...] = ()


class Changes(Struct, frozen=True):
    """What is kept at once.

    Attributes:
        slots: those that changed since the last time.
        firing, transitions, attended, untold, loads, episodes: all of them, as in ``Remembered``.
        at_s: seconds since the epoch.
    """

    slots: tuple[SlotRow, ...]
    firing: Mapping[AlertKey, float]
    transitions: tuple[Transition, ...]
    at_s: float
    attended: tuple[Time, ...] = ()
    untold: Untold = field(default_factory=dict)
    loads: Mapping[str, int] = {}
    episodes: tuple[Episode, ...] = ()
