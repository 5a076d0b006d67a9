"""Says what dashboards know of the mesh: its models, and the commonest of the reasons for refusals and failures."""

from __future__ import annotations

from collections.abc import Mapping

from telemetry.hub.shown.answers import ModelActivity, Objective, Overview, Pod


def models(overview: Overview) -> set[str]:
    """Return the names of the models that the mesh serves, was asked for, has pods of or objectives for."""
    known: tuple[ModelActivity | Objective | Pod, ...] = (*overview.models, *overview.slos, *overview.pods)
    return {one.model for one in known} - {""}


def commonest(reasons: Mapping[str, int], most: int) -> tuple[tuple[tuple[str, int], ...], int]:
    """Return the most frequent reasons with their requests, and how many requests had others."""
    ranked = sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
    return tuple(ranked[:most]), sum(count for _, count in ranked[most:])
