"""Decides which colour and word stand for a span or for a part of a request's time."""

from __future__ import annotations

from collections.abc import Iterable

from telemetry.conventions import SpanName

HANDLER = "handler"
UNEXPLAINED = "unexplained"

_STAGE_OF_SPAN = {
    SpanName.GATEWAY_REQUEST: "gateway",
    SpanName.GATEWAY_FORWARD: "transport",
    SpanName.GATEWAY_SHADOW: "shadow",
    SpanName.POD_REQUEST: "pod",
    SpanName.POD_QUEUE: "queue",
    SpanName.POD_PREPROCESS: "preprocess",
    SpanName.POD_INFERENCE: "inference",
    SpanName.POD_POSTPROCESS: "postprocess",
    SpanName.POD_BATCH: "batch",
    SpanName.POD_LOAD: "load",
}

# Every colour that the style sheet has, in the order of a request's life.
STAGES = (
    "gateway",
    "lost-attempt",
    "transport",
    "pod",
    "decode",
    "queue",
    "preprocess",
    "inference",
    HANDLER,
    "postprocess",
    "answer",
    "batch",
    "load",
    "shadow",
    UNEXPLAINED,
)


def stage_of_span(name: str) -> str:
    """Return the stage of a span; one that is not ours was made by a handler."""
    return _STAGE_OF_SPAN.get(name, HANDLER)


def stage_of_part(name: str) -> str:
    """Return the stage of a part of a request's time."""
    stage = name.replace(" ", "-")
    return stage if stage in STAGES else UNEXPLAINED


def in_order(stages: Iterable[str]) -> tuple[str, ...]:
    """Return the stages that occur, once each, in the order of a request's life."""
    occurring = set(stages)
    return tuple(stage for stage in STAGES if stage in occurring)
