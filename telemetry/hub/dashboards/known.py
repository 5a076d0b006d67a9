"""Says which models the mesh knows: those it serves, was asked for, has pods of or objectives for."""

from __future__ import annotations

from telemetry.hub.shown.answers import ModelActivity, Objective, Overview, Pod


def models(overview: Overview) -> set[str]:
    """Return their names."""
    known: tuple[ModelActivity | Objective | Pod, ...] = (*overview.models, *overview.slos, *overview.pods)
    return {one.model for one in known} - {""}
