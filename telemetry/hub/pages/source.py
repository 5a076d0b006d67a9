"""What pages ask, and how they read what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, cast

import msgspec
from starlette.requests import Request

Json = dict[str, Any]
"""An answer of the JSON API, as ``GET /api/...`` sends it."""

_Answer = TypeVar("_Answer")


class Source(Protocol):
    """What the pages ask; the application keeps it as ``app.state.source``, and ``/api`` answers from it too."""

    async def overview(self) -> Json:
        """Return what ``GET /api/overview`` answers."""
        ...

    async def slos(self) -> Json:
        """Return what ``GET /api/slos`` answers."""
        ...

    async def slo_history(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/slos/history`` answers: slo, model, version, span_s."""
        ...

    async def simulation(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/slos/simulate`` answers; it raises ``BadQuery`` and ``NoObjective``."""
        ...

    async def alerts(self) -> Json:
        """Return what ``GET /api/alerts`` answers to no filter."""
        ...

    async def changes_of(self, model: str) -> Json:
        """Return what was changed of a model of late."""
        ...

    async def rollouts(self) -> Json:
        """Return what ``GET /api/rollouts`` answers."""
        ...

    async def rollout(self, model: str) -> Json:
        """Return what ``GET /api/rollouts/{model}`` answers."""
        ...

    async def shadows(self) -> Json:
        """Return what ``GET /api/shadows`` answers."""
        ...

    async def drift(self) -> Json:
        """Return what ``GET /api/drift`` answers: every version, in brief."""
        ...

    async def drift_of(self, model: str) -> Json:
        """Return what ``GET /api/drift/{model}`` answers."""
        ...

    async def machine(self) -> Json:
        """Return what ``GET /api/machine`` answers."""
        ...

    async def machine_of(self, sidecar: str) -> Json | None:
        """Return what ``GET /api/machine/{sidecar}`` answers; None if there is no such sidecar."""
        ...

    async def telemetry(self) -> Json:
        """Return what ``GET /api/telemetry`` answers."""
        ...

    async def changes(self) -> Json:
        """Return what ``GET /api/changes`` answers: what was changed lately, and by whom."""
        ...

    async def measured(self, span: str) -> Json:
        """Return what ``GET /api/red`` answers: every model, from counts before any sampling."""
        ...

    async def measured_model(self, model: str, version: str, span: str) -> Json:
        """Return what ``GET /api/red/{model}`` answers: one model step by step."""
        ...

    async def traces(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/traces`` answers; the query is the URL's, each key once."""
        ...

    async def trace(self, wanted: str) -> Json | None:
        """Return what ``GET /api/traces/{trace id or request id}`` answers; None if it is not here."""
        ...

    async def trace_otlp(self, wanted: str) -> Json | None:
        """Return the same trace and its batches as OTLP's JSON, for ``?form=otlp``."""
        ...


def source_of(request: Request) -> Source:
    """Return what a request's page asks."""
    return cast(Source, request.app.state.source)


def read(answer: Json, kind: type[_Answer]) -> _Answer:
    """Return an answer as its type.

    Raises:
        msgspec.ValidationError: it is another version's.
    """
    return msgspec.convert(answer, kind)
