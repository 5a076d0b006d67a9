"""Answers what was counted in a stretch of time, from the file of steps."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from telemetry.hub.measured.answers import Kept, PodSum, measured, series
from telemetry.hub.measured.fold import WHOLE, Version
from telemetry.hub.measured.point_file import read
from telemetry.hub.measured.reader import CounterReader
from telemetry.hub.measured.steps import EVERY_S, SPANS_S, USUAL_SPAN, level_for
from telemetry.hub.query import chosen

Json = dict[str, Any]

KNOWN_FOR_S = EVERY_S
"""So long an answer about all models is given again: no counter is read more often than this."""


class CountedSteps:
    """What ``/api/red`` answers; its methods but ``pods`` and ``known`` read the file, so they run in a thread."""

    def __init__(self, store: Path, counters: CounterReader) -> None:
        self._store = store
        self._counters = counters
        self._known: dict[str, tuple[float, Json]] = {}

    def pods(self) -> list[PodSum]:
        """Return what each pod did in the last five minutes."""
        return self._counters.pods()

    def known(self, span: str) -> Json | None:
        """Return the answer about all models that was given a moment ago; None when it is older."""
        at_s, answer = self._known.get(spanned(span), (0.0, {}))
        return answer if answer and time.monotonic() - at_s < KNOWN_FOR_S else None

    def all(self, span: str, pods: Sequence[PodSum]) -> Json:
        """Return every model."""
        span = spanned(span)
        whole, error = self._kept(span, WHOLE)
        each, also = self._kept(span, "")
        answer = cast(Json, msgspec.to_builtins(measured(whole, each, span, pods, error or also)))
        self._known[span] = (time.monotonic(), answer)
        return answer

    def one(self, model: str, version: str, span: str) -> Json:
        """Return one model step by step; a version of "" is all of them."""
        span = spanned(span)
        kept, error = self._kept(span, model)
        return cast(Json, msgspec.to_builtins(series(kept, model, version, span, error)))

    def _kept(self, span: str, of: str | Version) -> tuple[Kept, str]:
        now_s, span_s = time.time(), SPANS_S[span]
        level = level_for(span_s, of_each=of == "")
        try:
            return read(self._store, level, now_s - span_s, now_s, of), self._counters.error
        except (sqlite3.Error, msgspec.MsgspecError) as fault:
            return Kept(level, int(now_s), now_s, {}, ()), f"What was counted cannot be read: {fault}."


def spanned(span: str) -> str:
    """Return the span that is asked for, or the usual one.

    Raises:
        BadQuery: it is none.
    """
    return chosen("span", span, SPANS_S, USUAL_SPAN)
