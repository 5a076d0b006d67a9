"""Trials: what canaries' trials came to in one worker since the supervisor was last told."""

from __future__ import annotations

from typing import Final

from gateway.control.messages import ArmEvents, BadKey, TrialEvents
from gateway.decide.release import Trial
from gateway.decide.stage import Stage

# Bad keys that are told at a time; further ones are counted.
MAX_TOLD = 4096

_SERVER_FAILED: Final = 500


class _Events:
    """Events of one stage since they were last taken: requests, bad ones and slow ones, of stable and of the canary."""

    __slots__ = ("counts", "keys", "stage", "untold")

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.counts = ([0, 0, 0], [0, 0, 0])
        self.keys: dict[int, BadKey] = {}
        self.untold = 0

    def told(self) -> TrialEvents:
        stable, canary = self.counts
        return TrialEvents(self.stage, ArmEvents(*stable), ArmEvents(*canary), tuple(self.keys.values()), self.untold)


class Trials:
    """What is to be told of every canary's trial."""

    def __init__(self) -> None:
        self._open: dict[Stage, _Events] = {}

    def note(self, trial: Trial, outcome: str, status: int, trace_id: str, *, in_canary: bool) -> None:
        """Count a settled request.

        Args:
            outcome: what it meant to the model's objectives; "" where it has none, and its status alone says it.
        """
        if not outcome:
            outcome = "bad" if status >= _SERVER_FAILED else "good"
        if outcome not in ("good", "bad"):
            return
        events = self._open.get(trial.stage)
        if events is None:
            events = self._open[trial.stage] = _Events(trial.stage)
        counts = events.counts[in_canary]
        counts[0] += 1
        if outcome == "bad":
            counts[1] += 1
            counts[2] += status < _SERVER_FAILED
            if trial.stage.share > 0.0:  # while everybody is on stable, a bad key compares nothing
                self._note_key(events, trial, trace_id, in_canary=in_canary)

    def take(self) -> list[TrialEvents]:
        """Return what is to be told, and begin anew."""
        taken, self._open = self._open, {}
        return [events.told() for events in taken.values()]

    @staticmethod
    def _note_key(events: _Events, trial: Trial, trace_id: str, *, in_canary: bool) -> None:
        if trial.subject in events.keys:
            return
        if len(events.keys) >= MAX_TOLD:
            events.untold += 1
            return
        events.keys[trial.subject] = BadKey(trial.subject, in_canary, trace_id)
