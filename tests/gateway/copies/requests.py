"""Answered requests as gateway workers tell them, with what a test cares about."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from gateway.copies.messages import Answered

REQUEST = Answered(
    request_id="5" * 32,
    trace_id="a" * 32,
    span_id="b" * 16,
    sampled=True,
    at_s=1_700_000_000.0,
    model="digits",
    version="1",
    arm="stable",
    tenant="ads",
    tier="gold",
    method="POST",
    target="/predictions/digits",
    fields=((b"content-type", b"application/json"),),
    status=200,
    answer_fields=b"content-type: application/json\r\n",
    took_s=0.01,
    device_us=1000,
)


def answered(**changed: Any) -> Answered:
    """Return a request of the tenant ``ads`` for ``digits``, answered by its version 1."""
    return replace(REQUEST, **changed)
