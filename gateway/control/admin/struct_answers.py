"""Answers of the management API that are structs of msgspec: as JSON, and as the OpenAPI documents them."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Response

from gateway.control.reports import RefusalReport


def answer(report: msgspec.Struct) -> Response:
    """Return a report as JSON."""
    return Response(msgspec.json.encode(report), media_type="application/json")


def answers(report: type[msgspec.Struct]) -> dict[str, Any]:
    """Return what an endpoint's decorator takes so that the OpenAPI knows its answer."""
    (schema,), parts = msgspec.json.schema_components((report,))
    whole = {"description": "As asked", "content": {"application/json": {"schema": _inlined(schema, parts)}}}
    refused = {"model": RefusalReport}
    return {"response_model": None, "responses": {200: whole, "4XX": refused, "5XX": refused}}


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    """Return a JSON Schema with what it refers to in its place; no report holds itself."""
    if isinstance(schema, list):
        return [_inlined(item, parts) for item in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    if name in parts:
        return _inlined(parts[name], parts)
    return {key: _inlined(value, parts) for key, value in schema.items()}
