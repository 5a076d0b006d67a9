"""Stages that a trial takes: where canaries stand under the policy in force, carried over to another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from gateway.decide.stage import Stage
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Canary
from policies.snapshot.route import Route


def stage_at(route: Route, share: float) -> dict[str, Stage]:
    """Return the stage of a model whose canary has got to a share; none where it has no canary."""
    canary = route.canary
    return {} if canary is None else {route.model: _stage(route.model, canary, share)}


def stages_in(snapshot: Snapshot, told: Mapping[str, Stage]) -> dict[str, Stage]:
    """Return where every canary of a policy stands: as was told, else at its first step."""
    return {
        route.model: _told(told, route.model, canary) or _stage(route.model, canary, canary.steps[0].share)
        for route, canary in _canaries(snapshot)
    }


def stages_after(stages: Mapping[str, Stage], before: Snapshot, after: Snapshot) -> dict[str, Stage]:
    """Return where every canary stands once another policy is in force.

    One that stays keeps what it has got to; where its step was edited, the lower of both shares holds. A new one begins
    at its first step.
    """
    found = stages_in(after, stages)
    for route, canary in _canaries(after):
        old = before.routes[route.model].canary if route.model in before.routes else None
        stage = _told(stages, route.model, canary)
        if old is not None and stage is not None:
            step = min(stage.step, len(canary.steps) - 1)
            was = old.steps[stage.step].share if stage.step < len(old.steps) else None
            if was != canary.steps[step].share:
                found[route.model] = replace(stage, step=step, share=min(stage.share, canary.steps[step].share))
    return found


def _canaries(snapshot: Snapshot) -> Iterator[tuple[Route, Canary]]:
    for route in snapshot.routes.values():
        if route.canary is not None:
            yield route, route.canary


def _told(told: Mapping[str, Stage], model: str, canary: Canary) -> Stage | None:
    """What was told of this very canary."""
    stage = told.get(model)
    is_this = stage is not None and (stage.canary, stage.version) == (canary.id, canary.version)
    return stage if is_this else None


def _stage(model: str, canary: Canary, share: float) -> Stage:
    return Stage(model, canary.id, canary.version, 0, 0, share)
