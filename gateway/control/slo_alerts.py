"""Where every alert is, and when it began and ceased to fire."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from gateway.control.slo_kept import AlertKey, Remembered, Transition
from telemetry.slo.alerts import AlertState, Firing, Verdict, after

# What is kept over all objectives, and shown of one.
MAX_KEPT = 200
MAX_SHOWN = 20


class AlertStates:
    """The states of all alerts of the policy.

    Attributes:
        transitions: the latest, oldest first.
    """

    def __init__(self) -> None:
        self.transitions: deque[Transition] = deque(maxlen=MAX_KEPT)
        self._states: dict[AlertKey, AlertState] = {}

    def restore(self, remembered: Remembered) -> None:
        """Go on from what was kept, which is from before all that is known yet, or is some of it."""
        self.transitions = deque(dict.fromkeys((*remembered.transitions, *self.transitions)), maxlen=MAX_KEPT)
        for one in remembered.transitions:
            if one.state == "resolved" and one.alert not in self._states:
                self._states[one.alert] = AlertState(Firing.RESOLVED, one.at_s)
        for key, since_s in remembered.firing.items():
            own_s = self.firing().get(key, since_s)
            self._states[key] = AlertState(Firing.FIRING, min(since_s, own_s))

    def of(self, key: AlertKey) -> AlertState:
        """Return where an alert is."""
        return self._states.get(key, AlertState())

    def firing(self) -> dict[AlertKey, float]:
        """Return the alerts that fire, and since when."""
        return {key: one.since_s or 0.0 for key, one in self._states.items() if one.state is Firing.FIRING}

    def recent(self, slo: str, model: str) -> list[Transition]:
        """Return the latest transitions of one objective of a model, the newest first."""
        own = [one for one in reversed(self.transitions) if one.alert[:2] == (slo, model)]
        return own[:MAX_SHOWN]

    def judge(self, key: AlertKey, verdict: Verdict, now_s: float) -> bool:
        """Take a verdict; whether the alert began or ceased to fire by it."""
        before = self.of(key)
        self._states[key] = after(before, verdict, now_s)
        if self._states[key] is before:
            return False
        self.transitions.append(Transition(now_s, "firing" if verdict.fires else "resolved", key))
        return True

    def end_others(self, known: Collection[AlertKey], now_s: float) -> dict[AlertKey, float]:
        """Forget alerts that the policy no longer has; return those of them that fired, and since when."""
        ended = {key: since_s for key, since_s in self.firing().items() if key not in known}
        self._states = {key: one for key, one in self._states.items() if key in known}
        self.transitions.extend(Transition(now_s, "resolved", key) for key in ended)
        return ended
