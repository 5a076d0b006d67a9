"""What is told of rollouts: the same objects for the command line, the management API and the pages."""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.rollouts.progress import RolloutState
from gateway.decide.rollouts.verdict import Verdict


class StepReport(Struct, frozen=True):
    """One step as policy has it. ``state`` is "done", "skipped", "now", "ended" or "later"."""

    share: float
    hold_s: float
    at_least: int
    needs_approval: bool
    requires_shadow: str
    state: str


class TransitionReport(Struct, frozen=True):
    """One change of a rollout's state.

    Attributes:
        by: "judge", "policy", or who did it, as the audit log names them.
        because: a sentence.
        share: of the new version from then on.
    """

    at_s: float
    revision: int
    from_state: RolloutState
    to_state: RolloutState
    step: int
    share: float
    by: str
    because: str


class RolloutReport(Struct, frozen=True):
    """One canary.

    Attributes:
        stable: the version that it is compared to.
        revision: of its state; each change has the next.
        waiting_for: what the step still lacks: "hold", "traffic", "verdict", "approval", "capacity", "shadow", "pods".
        next_s: when it can go on at the earliest, seconds since the epoch; None when that is no matter of time alone.
        share: of the new version now; target_share is that of the step, from which it differs while pods are missing.
        since_s: when this step began.
        verdict: None before the first second.
        transitions: the latest, newest first.
    """

    model: str
    canary: str
    version: str
    stable: str
    owner: str
    generation: int
    state: RolloutState
    revision: int
    step: int
    steps: tuple[StepReport, ...]
    share: float
    target_share: float
    since_s: float
    waiting_for: tuple[str, ...]
    next_s: float | None
    because: str
    verdict: Verdict | None
    transitions: tuple[TransitionReport, ...]


class RolloutsReport(Struct, frozen=True):
    """Every canary of the policy in force."""

    at_s: float
    rollouts: tuple[RolloutReport, ...]
