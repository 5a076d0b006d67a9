"""Outboxes: what each receiver is still to be told of alerts, of each alert the latest, and when to try next.

A receiver that was away for an hour is told once of an alert that began and ended meanwhile, with both moments; so what
waits is bounded by the alerts that there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from gateway.control.slo_kept import AlertKey, Notice, Untold

# Alerts of a mesh with more objectives than anybody reads.
MAX_UNTOLD = 1000
# An end is no news after so long.
END_IS_NEWS_S = 86_400.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
# As Prometheus does it: an alert is told again each minute, and ends by itself if that is missed four times.
TELL_AGAIN_S = 60.0
LASTS_S = 4 * TELL_AGAIN_S


class Result(StrEnum):
    """What became of telling one alert."""

    OK = "ok"
    FAILED = "failed"
    REFUSED = "refused"
    DROPPED = "dropped"


class Outbox:
    """What one receiver is still to be told.

    Attributes:
        due_s: nothing is tried before, by the clock that nobody sets.
        told_s: when it was last told anything, None for never.
        failures: in a row.
    """

    def __init__(self) -> None:
        self.due_s = 0.0
        self.told_s: float | None = None
        self.failures = 0
        self.counts: dict[Result, int] = dict.fromkeys(Result, 0)
        self._waiting: dict[AlertKey, Notice] = {}

    @property
    def waiting(self) -> tuple[Notice, ...]:
        """What waits, oldest first."""
        return tuple(self._waiting.values())

    def put(self, notices: Iterable[Notice]) -> None:
        """Have an alert told; what waits of the same alert is no longer news."""
        for notice in notices:
            self._waiting.pop(notice.alert, None)
            self._waiting[notice.alert] = notice
        while len(self._waiting) > MAX_UNTOLD:
            del self._waiting[next(iter(self._waiting))]
            self.counts[Result.DROPPED] += 1

    def drop_old(self, wall_s: float) -> Sequence[Notice]:
        """Give up telling of what ended long ago, and return it."""
        old = [one for one in self.waiting if one.ended_s is not None and wall_s - one.ended_s > END_IS_NEWS_S]
        for notice in old:
            del self._waiting[notice.alert]
        self.counts[Result.DROPPED] += len(old)
        return old

    def is_due(self, now_s: float, is_firing: bool) -> bool:
        """Return whether to tell something now.

        Args:
            is_firing: alerts fire that must be told again and again.
        """
        if now_s < self.due_s:
            return False
        is_again = is_firing and (self.told_s is None or now_s - self.told_s >= TELL_AGAIN_S)
        return bool(self._waiting) or is_again

    def told(self, notices: Sequence[Notice], now_s: float) -> None:
        """These were taken; what came meanwhile of the same alerts waits on."""
        self._gone(notices, Result.OK)
        self.told_s, self.failures, self.due_s = now_s, 0, now_s

    def refused(self, notices: Sequence[Notice], now_s: float, chance: float) -> None:
        """The receiver says that it never will take these."""
        self._gone(notices, Result.REFUSED)
        self._pause(now_s, chance)

    def failed(self, notices: Sequence[Notice], now_s: float, chance: float) -> None:
        """The receiver could not be told; these wait for longer each time.

        Args:
            chance: from 0 to 1, drawn for this, so that not all come back at once.
        """
        self.counts[Result.FAILED] += len(notices)
        self._pause(now_s, chance)

    def _gone(self, notices: Sequence[Notice], result: Result) -> None:
        self.counts[result] += len(notices)
        for notice in notices:
            waits = self._waiting.get(notice.alert)
            # What there is to say of an alert changes while it is told; that it fires, or is over, does not.
            if waits is not None and (waits.began_s, waits.ended_s) == (notice.began_s, notice.ended_s):
                del self._waiting[notice.alert]

    def _pause(self, now_s: float, chance: float) -> None:
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.due_s = now_s + pause_s * (0.5 + 0.5 * chance)


class Outboxes:
    """The outboxes of all receivers, by their names."""

    def __init__(self) -> None:
        self.by_name: dict[str, Outbox] = {}

    @property
    def untold(self) -> Untold:
        """What everybody is still to be told, to be kept; also that somebody has been told everything is."""
        return {name: outbox.waiting for name, outbox in self.by_name.items()}

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """What became of telling alerts, by receiver and result."""
        return {
            (name, result.value): count
            for name, outbox in self.by_name.items()
            for result, count in outbox.counts.items()
        }

    def follow(self, names: Sequence[str], firing: Sequence[Notice]) -> None:
        """Tell these from now on; who is new is told first what fires."""
        self.by_name = {name: self.by_name.get(name) or _told_first(firing) for name in names}

    def restore(self, kept: Untold, firing: Sequence[Notice]) -> None:
        """Go on with what was kept; whom that does not know is told what fires."""
        for name, outbox in self.by_name.items():
            newer = outbox.waiting
            outbox.put(kept.get(name, firing))
            outbox.put(newer)

    def put(self, news: Sequence[Notice]) -> None:
        """Have everybody told."""
        for outbox in self.by_name.values():
            outbox.put(news)


def _told_first(firing: Sequence[Notice]) -> Outbox:
    outbox = Outbox()
    outbox.put(firing)
    return outbox
