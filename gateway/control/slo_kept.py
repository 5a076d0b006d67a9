"""What of objectives outlives the supervisor: slots, alerts that fire, and the transitions of alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from msgspec import Struct, field

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


class Remembered(Struct, frozen=True):
    """What a start finds: events by series, since when alerts fire, and their transitions, oldest first."""

    series: dict[Series, Slots] = field(default_factory=dict)
    firing: dict[AlertKey, float] = field(default_factory=dict)
    transitions: tuple[Transition, ...] = ()


class Changes(Struct, frozen=True):
    """What is kept at once.

    Attributes:
        slots: those that changed since the last time.
        firing, transitions: all of them, as in ``Remembered``.
        at_s: seconds since the epoch.
    """

    slots: tuple[SlotRow, ...]
    firing: Mapping[AlertKey, float]
    transitions: tuple[Transition, ...]
    at_s: float
