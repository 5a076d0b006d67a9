"""Answers that the gateway gives by itself: health, readiness, metadata and refusals. Pure; returns bytes."""

from __future__ import annotations

import math

import msgspec
from msgspec import Struct

from gateway.dataplane.me import Me
from gateway.dataplane.repository import Indexed
from gateway.decide.decision import Refusal
from gateway.errors import REASONS
from model_pod.wire.refusals import REASON_HEADER, refusal_body

SERVER_NAME = "penstock"
HEALTH = ("/livez", "/readyz", "/ping", "/v2/health/")
JSON = b"content-type: application/json\r\n"


class Answer(Struct, frozen=True):
    """A whole answer.

    Attributes:
        fields: header lines of its own, each with its CRLF.
    """

    status: int
    fields: bytes
    body: bytes


class Readiness(Struct, frozen=True):
    """What the health paths tell.

    Attributes:
        draining: the worker takes its last requests.
        waiting_for: stable versions that were never ready, as ``model/version: state``.
        ready_now: by model, whether its stable version has a ready pod at this moment.
        away: stable versions that were ready and whose pods are all gone or have failed, in the same words.
    """

    draining: bool
    waiting_for: tuple[str, ...]
    ready_now: dict[str, bool]
    away: tuple[str, ...] = ()

    @property
    def serves_nothing(self) -> bool:
        """There are models, and no request for any of them would be answered."""
        return 0 < len(self.ready_now) == len(self.waiting_for) + len(self.away)

    @property
    def ready(self) -> bool:
        """Every stable version has been ready once, one of them is to be had now, and the worker stays."""
        return not self.draining and not self.waiting_for and not self.serves_nothing


def is_health_path(path: str) -> bool:
    """Whether the path tells the truth to anyone, without a key."""
    match path.removesuffix("/").split("/")[1:]:
        case ["livez" | "readyz" | "ping"] | ["readyz", _] | ["v2", "health", "live" | "ready"]:
            return True
        case _:
            return False


def health_answer(path: str, readiness: Readiness, request_id: str) -> Answer:
    """Return the answer to a health path."""
    match path.removesuffix("/").split("/")[1:]:
        case ["livez"]:
            return _json(200, {"live": True})
        case ["v2", "health", "live"]:
            return _json(200, {"live": True})
        case ["v2", "health", "ready"]:
            return _json(200 if readiness.ready else 503, {"ready": readiness.ready})
        case ["readyz"]:
            return _readyz(readiness)
        case ["readyz", model]:
            return _readyz_model(readiness, model, request_id)
        case ["ping"]:
            return _json(200 if readiness.ready else 500, {"status": "Healthy" if readiness.ready else "Unhealthy"})
        case _:
            raise ValueError(f"{path} is no health path")


def _readyz(readiness: Readiness) -> Answer:
    told: dict[str, object] = {"ready": readiness.ready}
    if readiness.draining:
        told["draining"] = True
    if readiness.waiting_for:
        told["waiting_for"] = readiness.waiting_for
    if readiness.away and not readiness.ready:
        told["away"] = readiness.away
    return _json(200 if readiness.ready else 503, told)


def _readyz_model(readiness: Readiness, model: str, request_id: str) -> Answer:
    ready = readiness.ready_now.get(model)
    if ready is None:
        return refusal_answer(
            Refusal("model_not_found", f"no model is called {model!r} here; GET /me says which there are for you"),
            request_id,
        )
    return _json(200 if ready else 503, {"name": model, "ready": ready})


def server_metadata() -> Answer:
    """Return the Open Inference Protocol's server metadata."""
    # Imported here because it costs a worker a tenth of its start, and few ask.
    from importlib.metadata import version as version_of

    version = version_of("penstock")
    return _json(200, {"name": SERVER_NAME, "version": version, "extensions": []})


def repository_answer(index: list[Indexed]) -> Answer:
    """Return the Open Inference Protocol's index of models."""
    return Answer(200, JSON, msgspec.json.encode(index) + b"\n")


def me_answer(told: Me) -> Answer:
    """Return what a caller is told of itself."""
    return Answer(200, JSON, msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")


def feedback_answer(accepted: int) -> Answer:
    """Return what a caller is told of the labels that it has told."""
    return Answer(202, JSON, b'{"accepted": %d}\n' % accepted)


def refusal_answer(refusal: Refusal, request_id: str) -> Answer:
    """Return a refusal as its caller gets it."""
    reason = REASONS[refusal.reason]
    fields = JSON + f"{REASON_HEADER}: {reason.name}\r\n".encode()
    if refusal.retry_after_s or (reason.status in (429, 503) and reason.retryable):
        fields += b"retry-after: %d\r\n" % max(1, math.ceil(refusal.retry_after_s))
    if refusal.allow:
        fields += f"allow: {', '.join(refusal.allow)}\r\n".encode()
    if reason.status == 401:
        fields += b"www-authenticate: Bearer\r\n"
    return Answer(reason.status, fields, refusal_body(reason, refusal.message, request_id))


def _json(status: int, value: dict[str, object]) -> Answer:
    return Answer(status, JSON, msgspec.json.encode(value) + b"\n")
