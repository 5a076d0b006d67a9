"""What the management API answers of the past of objectives: their counts by time, and when alerts fired."""

from __future__ import annotations

from msgspec import Struct


class LevelReport(Struct, frozen=True):
    """What was counted in slots of one length; those without events are left out.

    Attributes:
        starts_s: of each slot, seconds since the epoch.
        good, bad: in each slot.
    """

    slot_s: int
    reach_s: int
    starts_s: tuple[int, ...]
    good: tuple[int, ...]
    bad: tuple[int, ...]


class SlotsReport(Struct, frozen=True):
    """All that is counted of an objective: finely of late, coarsely of long ago.

    Attributes:
        attended: from when to when somebody counted; at other times nothing is known.
    """

    slo: str
    model: str
    at_s: float
    levels: tuple[LevelReport, ...]
    attended: tuple[tuple[float, float], ...]


class TellingReport(Struct, frozen=True):
    """What became of telling one receiver.

    Attributes:
        what: "begin" or "end".
        result: "ok", "failed" (it is tried again), "refused", "dropped", or "waits" for who was not tried yet.
    """

    to: str
    what: str
    result: str
    at_s: float
    why: str


class EpisodeReport(Struct, frozen=True):
    """One time that an alert fired; ``ended_s`` is null while it does.

    Attributes:
        highest_burn: the greatest burn rate of its long window.
        told: empty where the policy names nobody to be told.
    """

    slo: str
    model: str
    severity: str
    name: str
    tier: str
    runbook: str
    began_s: float
    ended_s: float | None
    highest_burn: float
    told: tuple[TellingReport, ...]


class AlertsReport(Struct, frozen=True):
    """Every alert that fires, and the latest 200 times that one did; the newest beginning first.

    Attributes:
        receivers: whom the policy in force has told.
    """

    at_s: float
    receivers: tuple[str, ...]
    alerts: tuple[EpisodeReport, ...]
