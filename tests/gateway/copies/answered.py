"""Requests as workers tell of them, and snapshots that copy, record and have labels told."""

from __future__ import annotations

from gateway.copies.compare.answer import Answer
from gateway.copies.messages import Answered
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.release import Feedback, Recording, Shadow
from policies.snapshot.route import Route, Version
from policies.snapshot.tenant import Tenant

AT_S = 1_700_000_000.0
JSON = b"content-type: application/json\r\n"


def answered(
    number: int = 1, *, tenant: str = "ads", at_s: float = AT_S, model: str = "digits", labelled: bool = False
) -> Answered:
    """Return a request that version 1 answered."""
    return Answered(
        request_id=f"r{number}",
        trace_id=f"{number:032x}",
        span_id=f"{number:016x}",
        sampled=True,
        at_s=at_s,
        model=model,
        version="1",
        arm="stable",
        tenant=tenant,
        tier="standard",
        method="POST",
        target=f"/predictions/{model}",
        fields=((b"content-type", b"application/json"), (b"x-mail", b"a@b.example")),
        status=200,
        answer_fields=JSON + b"set-cookie: secret\r\n",
        took_s=0.01,
        device_us=100,
        is_recorded=True,
        is_labelled=labelled,
    )


def answer(body: bytes, status: int = 200) -> Answer:
    """Return a pod's answer."""
    return Answer(status, JSON + b"set-cookie: secret\r\n", body, 0.01, 100)


def snapshot(
    record: Recording | None = None,
    feedback: Feedback | None = None,
    shadows: tuple[Shadow, ...] = (),
    *,
    consenting: tuple[str, ...] = ("ads", "shop"),
    generation: int = 1,
) -> Snapshot:
    """Return a policy with one model, digits, and tenants of which some consent to copies."""
    versions = {name: Version(name) for name in ("1", "2")}
    route = Route("digits", "ml", versions, "1", record=record, feedback=feedback, shadows=shadows)
    tenants = {
        name: Tenant(name, "team", "standard", (), ("*",), is_copied=name in consenting)
        for name in ("ads", "shop", "shy")
    }
    return Snapshot(generation, "d" * 64, Mesh("demo"), routes={"digits": route}, tenants=tenants)
