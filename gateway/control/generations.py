"""Decides the switch to a new generation: every worker prepares it, then every worker commits it.

Events in, actions out. A worker that dies does not veto; one that cannot build the generation vetoes it for all; one
that does not answer in time is killed, for a worker that hangs decides requests by a policy that is no longer in force.
When all of them die or hang, the generation is what they have in common, and it is vetoed: their successors keep the
old one.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

ANSWER_WITHIN_S = 1.0
NOBODY_PREPARED = "no worker lived to prepare it within 1 s"


class Phase(Enum):
    """How far a switch has come."""

    PREPARING = "preparing"
    COMMITTING = "committing"
    IN_FORCE = "in force"
    VETOED = "vetoed"


class TellPrepare(Struct, frozen=True):
    """Tell this worker to build the generation."""

    worker: int


class TellCommit(Struct, frozen=True):
    """Tell this worker to decide by the generation."""

    worker: int


class Kill(Struct, frozen=True):
    """This worker did not answer in time."""

    worker: int


Action = TellPrepare | TellCommit | Kill


class Switch(Struct, frozen=True):
    """One switch, between two events.

    Attributes:
        asked: how many workers took part at first.
        members: workers that take part and live.
        silent: members that have not answered this phase.
        late: workers that start while the others prepare; they get both steps at once and are not waited for.
        answer_by_s: when the silent ones are given up.
        veto: why the generation cannot be built, "" unless VETOED.
    """

    generation: int
    phase: Phase
    asked: int
    members: frozenset[int]
    silent: frozenset[int]
    answer_by_s: float
    late: frozenset[int] = frozenset()
    veto: str = ""

    @property
    def is_over(self) -> bool:
        """Nothing is waited for any more."""
        return self.phase in (Phase.IN_FORCE, Phase.VETOED)


Step = tuple[Switch, list[Action]]


def begin(generation: int, workers: frozenset[int], starting: frozenset[int], now_s: float) -> Step:
    """Start a switch of the workers that accept requests now, and of those that are about to."""
    switch = Switch(generation, Phase.PREPARING, len(workers), workers, workers, now_s + ANSWER_WITHIN_S, late=starting)
    switch, actions = _advance(switch, now_s)
    return switch, [*[TellPrepare(worker) for worker in sorted(workers)], *actions]


def prepared(switch: Switch, worker: int, generation: int, error: str, now_s: float) -> Step:
    """A worker has built the generation, or says why it cannot."""
    if switch.phase is not Phase.PREPARING or generation != switch.generation or worker not in switch.silent:
        return switch, []
    if error:
        return replace(switch, phase=Phase.VETOED, silent=frozenset(), veto=error), []
    return _advance(replace(switch, silent=switch.silent - {worker}), now_s)


def committed(switch: Switch, worker: int, generation: int, now_s: float) -> Step:
    """A worker decides by the generation."""
    if switch.phase is not Phase.COMMITTING or generation != switch.generation:
        return switch, []
    return _advance(replace(switch, silent=switch.silent - {worker}), now_s)


def joined(switch: Switch, worker: int) -> Switch:
    """A worker started meanwhile; once COMMITTING, it starts with the new generation anyway."""
    if switch.phase is not Phase.PREPARING:
        return switch
    return replace(switch, late=switch.late | {worker})


def gone(switch: Switch, worker: int, now_s: float) -> Step:
    """A worker died; the others go on."""
    without = replace(
        switch, members=switch.members - {worker}, silent=switch.silent - {worker}, late=switch.late - {worker}
    )
    return _advance(without, now_s)


def time_passed(switch: Switch, now_s: float) -> Step:
    """Give up the workers that are silent for too long."""
    if switch.is_over or now_s < switch.answer_by_s:
        return switch, []
    kills = [Kill(worker) for worker in sorted(switch.silent)]
    rest = replace(switch, members=switch.members - switch.silent, silent=frozenset())
    switch, actions = _advance(rest, now_s)
    return switch, [*kills, *actions]


def _advance(switch: Switch, now_s: float) -> Step:
    if switch.is_over or switch.silent:
        return switch, []
    if switch.phase is Phase.COMMITTING:
        return replace(switch, phase=Phase.IN_FORCE), []
    if switch.asked and not switch.members:
        return replace(switch, phase=Phase.VETOED, veto=NOBODY_PREPARED), []
    actions: list[Action] = [TellCommit(worker) for worker in sorted(switch.members)]
    for worker in sorted(switch.late):
        actions += [TellPrepare(worker), TellCommit(worker)]
    committing = replace(
        switch, phase=Phase.COMMITTING, silent=switch.members, late=frozenset(), answer_by_s=now_s + ANSWER_WITHIN_S
    )
    if committing.silent:
        return committing, actions
    return replace(committing, phase=Phase.IN_FORCE), actions
