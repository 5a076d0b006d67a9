"""The past of alerts: each time that one fired, how fast the budget burned at worst, and who was told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from gateway.control.slo_kept import AlertKey, Episode, Notice, Telling
from telemetry.slo.alerts import Tier

# Over all objectives; those that fire now are kept beside them.
MAX_OVER = 200
# Receivers of one alert, beginnings and ends: a policy with more has its first ones shown.
MAX_TELLINGS = 16
MAX_WHY = 200
BEGIN, END = "begin", "end"


class AlertPast:
    """The latest times that alerts fired; what was longest ago is forgotten first."""

    def __init__(self) -> None:
        self._open: dict[AlertKey, Episode] = {}
        self._over: deque[Episode] = deque(maxlen=MAX_OVER)

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All of them, what is over first, in the order in which it ended."""
        return (*self._over, *self._open.values())

    def fires(self, key: AlertKey, tier: Tier, since_s: float, burn: float) -> None:
        """Note that an alert fires, and how fast its long window burns; the highest is kept."""
        known = self._open.get(key)
        if known is None:
            self._open[key] = Episode(key, tier.value, since_s, None, burn)
        elif burn > known.highest_burn or since_s < known.began_s:
            began_s, highest = min(since_s, known.began_s), max(burn, known.highest_burn)
            self._open[key] = replace(known, began_s=began_s, highest_burn=highest)

    def ends(self, key: AlertKey, at_s: float) -> None:
        """Note that an alert that fired does so no more."""
        if (known := self._open.pop(key, None)) is not None:
            self._over.append(replace(known, ended_s=at_s))

    def told(self, to: str, notices: Iterable[Notice], result: str, at_s: float, why: str = "") -> None:
        """Note what became of telling a receiver; that it was told stays, however often it is told again."""
        for notice in notices:
            telling = Telling(to, BEGIN if notice.ended_s is None else END, result, at_s, why[:MAX_WHY])
            self._tell(notice, telling)

    def _tell(self, notice: Notice, telling: Telling) -> None:
        known = self._open.get(notice.alert)
        if notice.ended_s is None and known is not None:
            self._open[notice.alert] = with_telling(known, telling)
            return
        for place in range(len(self._over) - 1, -1, -1):
            one = self._over[place]
            if one.alert == notice.alert and notice.ended_s in (None, one.ended_s):
                self._over[place] = with_telling(one, telling)
                return

    def restore(self, kept: Iterable[Episode]) -> None:
        """Go on from what was kept, which is from before all that is known yet, or is some of it."""
        own_open, ended = self._open, [one for one in kept if one.ended_s is not None]
        over = {(one.alert, one.began_s, one.ended_s): one for one in (*ended, *self._over)}
        self._over = deque(over.values(), maxlen=MAX_OVER)
        self._open = {one.alert: one for one in kept if one.ended_s is None}
        for key, one in own_open.items():
            self._open[key] = _joined(self._open.get(key), one)


def with_telling(episode: Episode, telling: Telling) -> Episode:
    """Return an episode with what became of telling one receiver; the first time that it was taken stays."""
    before = {(one.to, one.what): one for one in episode.told}
    known = before.get((telling.to, telling.what))
    if known is not None and known.result == "ok":
        return episode
    if known is None and len(before) >= MAX_TELLINGS:
        return episode
    return replace(episode, told=tuple((before | {(telling.to, telling.what): telling}).values()))


def with_waiting(episode: Episode, untold: Mapping[str, tuple[Notice, ...]], now_s: float) -> Episode:
    """Return an episode with who is still to be told and was not tried yet."""
    for to, notices in untold.items():
        for notice in notices:
            what = BEGIN if notice.ended_s is None else END
            is_it = notice.alert == episode.alert and notice.ended_s == episode.ended_s
            if is_it and not any((one.to, one.what) == (to, what) for one in episode.told):
                episode = with_telling(episode, Telling(to, what, "waits", now_s))
    return episode


def _joined(kept: Episode | None, own: Episode) -> Episode:
    """Return what is known of an alert that fired before a start and fires after it."""
    if kept is None:
        return own
    highest = max(kept.highest_burn, own.highest_burn)
    joined = replace(kept, began_s=min(kept.began_s, own.began_s), highest_burn=highest)
    for telling in own.told:
        joined = with_telling(joined, telling)
    return joined
