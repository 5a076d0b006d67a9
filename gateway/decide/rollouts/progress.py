"""Progress: where a rollout stands, which outlives the supervisor, and the facts by which it goes on."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from gateway.decide.rollouts.verdict import Verdict
from gateway.decide.stage import Stage

JUDGE = "judge"
POLICY = "policy"


class RolloutState(StrEnum):
    """Where a rollout stands; ``gateway.decide.rollouts.machine`` has the transitions."""

    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"


class Wait(StrEnum):
    """What a rollout still lacks."""

    HOLD = "hold"
    TRAFFIC = "traffic"
    VERDICT = "verdict"
    APPROVAL = "approval"
    SHADOW = "shadow"
    CAPACITY = "capacity"
    PODS = "pods"


class Progress(Struct, frozen=True):
    """Where the canary of one model stands.

    Attributes:
        stable: the version that has all other requests.
        share: of sticky keys that are on the new version.
        revision: each change has the next, and a writer that does not know the latest loses.
        ladder: the steps' shares as policy had them last.
        ceiling: this step's share; an edit of it, or of one before it, can only lower it.
        began_s, began_revision: when the evidence of this step begins.
        moved_s: when the share changed last, from which on the step is held.
        watched_from_s: what was before says nothing of this canary, or was forgiven by whoever resumed it.
        changed_s: of this revision.
        resumed_s: from which on the time without traffic counts again.
        waits: what it waits for, where waiting alone does not bring it; () while it runs.
        is_approved: somebody approved the step that it is in.
        is_passed: somebody ended the step that it is in, whatever it lacked; ``is_to_end`` all that follow too.
        promoter, promoted_for: who did one of these, "" for nobody, and for which reason.
        skipped: steps that somebody ended before they had what policy asks for, or left out.
        is_promoted: it has all the share; a paused one may have it too.
        is_harmed: it is paused for the harm that it did.
        is_settled: it was promoted, and nothing can take that back but a person.
        by: "judge", "policy", or who made this revision.
        because: a sentence on it.
    """

    model: str
    canary: str
    version: str
    stable: str
    state: RolloutState
    step: int
    share: float
    revision: int
    ladder: tuple[float, ...]
    ceiling: float
    began_s: float
    began_revision: int
    moved_s: float
    watched_from_s: float
    changed_s: float
    resumed_s: float = 0.0
    waits: tuple[Wait, ...] = ()
    is_approved: bool = False
    is_passed: bool = False
    is_to_end: bool = False
    promoter: str = ""
    promoted_for: str = ""
    skipped: tuple[int, ...] = ()
    is_promoted: bool = False
    is_harmed: bool = False
    is_settled: bool = False
    by: str = POLICY
    because: str = ""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to compare."""
        return self.state is RolloutState.ROLLED_BACK or self.is_settled

    @property
    def target_share(self) -> float:
        """The share that its state gives it, which it has once there is room for that."""
        if self.state is RolloutState.ROLLED_BACK:
            return 0.0
        return 1.0 if self.is_promoted else self.ceiling


class VersionSeen(Struct, frozen=True):
    """What is known of the pods of one version.

    Attributes:
        ready_pods: now.
        requests: that it answered lately: what its cost is known by.
        device_s_each: seconds of a device that one request took; None where requests tell of none.
    """

    ready_pods: int
    requests: int = 0
    device_s_each: float | None = None


class Sight(Struct, frozen=True):
    """What is seen at one moment.

    Attributes:
        requests: that the new version answered in this step and that count.
        candidate, stable: their pods.
        rate_per_s: of all requests for the model in the last minute.
        busiest_per_s: in the busiest minute of the last hour.
        same_shadows: shadows whose answers are called the same as stable's.
        owner: of the route.
        since_s: from which on somebody has looked without a break: requests before may have come unseen.
    """

    verdict: Verdict | None
    requests: int
    candidate: VersionSeen
    stable: VersionSeen
    rate_per_s: float = 0.0
    busiest_per_s: float = 0.0
    same_shadows: frozenset[str] = frozenset()
    owner: str = ""
    since_s: float = 0.0


def not_after(progress: Progress, now_s: float) -> Progress:
    """Return the progress without moments of the future, which a clock that was set back leaves: they are now."""
    names = ("began_s", "moved_s", "watched_from_s", "changed_s", "resumed_s")
    future = {name: now_s for name in names if getattr(progress, name) > now_s}
    return replace(progress, **future) if future else progress


def stage_of(progress: Progress) -> Stage:
    """Return what workers are told."""
    return Stage(
        progress.model,
        progress.canary,
        progress.version,
        progress.revision,
        progress.step,
        progress.share,
        progress.is_over,
    )


def is_of_this_step(progress: Progress, stage: Stage) -> bool:
    """Whether what was seen at a stage is evidence of the step as it is now."""
    return (
        (stage.canary, stage.version, stage.step) == (progress.canary, progress.version, progress.step)
        and progress.began_revision <= stage.revision <= progress.revision
        and not progress.is_over
    )


def percent(share: float) -> str:
    """Write a share for people."""
    return f"{share * 100:.4g}%"
