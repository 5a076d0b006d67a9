"""Gathers the evidence of one step from what workers and late labels tell, each bad key once."""

from __future__ import annotations

from gateway.control.messages import TrialEvents
from gateway.control.rollouts.store import GatheredEvidence, Unsaved
from gateway.copies.messages import LabelEvent
from gateway.decide.rollouts import evidence as step_evidence
from gateway.decide.rollouts.evidence import StepEvidence
from gateway.decide.rollouts.moments import Bad, Present
from gateway.decide.rollouts.progress import Progress, is_of_this_step
from policies.snapshot.release import Canary

MAX_SUBJECTS = 65_536
"""Bad keys that are told apart in one step; further ones are counted, and are no evidence."""


class Gathering:
    """The evidence of the step that a rollout is in.

    Args:
        began_s: from which on the absence of requests is seen.
        kept: what a start finds, of this step or another.

    Attributes:
        began_revision: of the progress that the step began with.
        evidence: so far.
        untold: bad keys that found no room, here or in workers.
    """

    def __init__(
        self, canary: Canary, progress: Progress, began_s: float, kept: GatheredEvidence | None = None
    ) -> None:
        self.began_revision = progress.began_revision
        self.untold = 0
        self._subjects: set[int] = set()
        self._present = Present()
        self._unsaved: set[int] = set()
        self._is_unsaved = False
        self._is_anew = True
        self.evidence: StepEvidence = step_evidence.begun(
            canary.judge, canary.version, progress.step, progress.target_share, began_s
        )
        if kept is not None and kept.began_revision == progress.began_revision:
            self.evidence, self.untold, self._subjects = kept.evidence, kept.untold, set(kept.subjects)
            self._is_anew = False

    def answers(self, canary: Canary, progress: Progress) -> bool:
        """Whether it is what is asked: policy may ask for another ratio, and a step may have begun anew."""
        return self.began_revision == progress.began_revision and step_evidence.is_of(
            self.evidence, canary.judge, canary.version, progress.step
        )

    def take(self, told: TrialEvents, progress: Progress, now_s: float) -> None:
        """Take in what a worker tells; what it tells of a step that has passed says nothing any more."""
        if not is_of_this_step(progress, told.stage):
            return
        self.evidence = step_evidence.with_events(self.evidence, told.stable, told.canary, now_s)
        self.untold += told.untold
        self._is_unsaved = True
        for key in told.keys:
            # While everybody is on stable a bad key compares nothing, and it counts once: it is kept for when it does.
            if told.stage.share > 0.0 and key.subject not in self._subjects:
                self._present.add(Bad(key.subject, key.in_canary, told.stage.share, key.trace_id))

    def take_label(self, event: LabelEvent, progress: Progress, now_s: float) -> None:
        """Take in a late label; one that says that an answer was right says nothing of a bad key."""
        stage = event.stage
        if event.is_right or stage is None or not is_of_this_step(progress, stage):
            return
        if stage.share <= 0.0:  # as for bad requests: its key is kept for when there is something to compare
            return
        bad = Bad(event.subject, event.version == progress.version, stage.share, event.trace_id)
        self._count(bad, now_s, is_wrong_label=True)

    def _count(self, bad: Bad, now_s: float, *, is_wrong_label: bool = False, is_one_of_many: bool = False) -> None:
        if bad.subject in self._subjects:
            return
        self._is_unsaved = True
        if len(self._subjects) >= MAX_SUBJECTS:
            self.untold += 1
            return
        self._subjects.add(bad.subject)
        self._unsaved.add(bad.subject)
        self.evidence = step_evidence.with_bad_key(
            self.evidence,
            bad.in_canary,
            bad.share,
            bad.trace_id,
            is_wrong_label,
            now_s,
            is_one_of_many=is_one_of_many,
        )

    def looked(self, now_s: float) -> None:
        """A second is over."""
        counted = self._present.looked()
        if counted is not None:
            bad, is_one_of_many = counted
            self._count(bad, now_s, is_one_of_many=is_one_of_many)

    def clock_was_set_back(self, now_s: float) -> None:
        """Nothing has come later than now."""
        self.evidence = step_evidence.not_after(self.evidence, now_s)

    def unsaved(self) -> Unsaved | None:
        """Return what is to be kept; None when nothing has come since it last was."""
        if not self._is_unsaved:
            return None
        self._is_unsaved = False
        gathered = GatheredEvidence(self.began_revision, self.evidence, frozenset(), self.untold)
        return Unsaved(gathered, frozenset(self._unsaved), self._is_anew)

    def saved(self, unsaved: Unsaved) -> None:
        """It is kept."""
        self._unsaved -= unsaved.keys
        self._is_anew = False

    def not_saved(self) -> None:
        """What was to be kept is not."""
        self._is_unsaved = True
