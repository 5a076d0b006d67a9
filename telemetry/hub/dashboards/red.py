"""Decides what the list of models with their requests, errors and durations holds."""

from __future__ import annotations

from msgspec import Struct

from telemetry.hub.dashboards.on_call import ModelLine, model_lines
from telemetry.hub.measured.answers import Measured, Point, Summed
from telemetry.hub.shown.answers import Overview

MODELS_OF_A_PAGE = 50


class RedList(Struct, frozen=True):
    """Models by name, a page of them; pages count from 1."""

    span: str
    at_s: float
    step_s: int
    whole: Summed | None
    points: tuple[Point, ...]
    models: tuple[ModelLine, ...]
    model_count: int
    page: int
    page_count: int
    error: str = ""


def red_list(overview: Overview, measured: Measured, page: int) -> RedList:
    """Return a page of the models; one that is not there is the last."""
    lines = sorted(model_lines(overview, measured), key=lambda line: line.model)
    page_count = max(1, -(-len(lines) // MODELS_OF_A_PAGE))
    page = min(max(1, page), page_count)
    return RedList(
        measured.span,
        measured.at_s,
        measured.step_s,
        measured.whole.summed if measured.whole is not None else None,
        measured.points,
        tuple(lines[(page - 1) * MODELS_OF_A_PAGE : page * MODELS_OF_A_PAGE]),
        len(lines),
        page,
        page_count,
        overview.error or measured.error,
    )
