"""grpc.health.v1: whether the server, a service of it, or a model is ready, as messages."""

from __future__ import annotations

from enum import IntEnum

from gateway.dataplane.answers import Readiness
from gateway.dataplane.grpc import protobuf
from gateway.dataplane.grpc.methods import SERVICES
from model_pod.wire.refusals import Refused

_SERVICE = 1
_STATUS = 1


class Serving(IntEnum):
    """As health.proto numbers it."""

    SERVING = 1
    NOT_SERVING = 2
    SERVICE_UNKNOWN = 3


def service_asked(request: bytes) -> str:
    """Return the service that a HealthCheckRequest names.

    Raises:
        Refused: ``malformed_body``.
    """
    try:
        return next((value.decode() for number, value in protobuf.counted_fields(request) if number == _SERVICE), "")
    except UnicodeDecodeError:
        raise Refused("malformed_body", "the service's name is not UTF-8") from None


def serving(service: str, readiness: Readiness) -> Serving:
    """Return how a service is: "" and our services stand for the server, any other name for a model."""
    is_ready = readiness.ready if service in ("", *SERVICES) else readiness.ready_now.get(service)
    if is_ready is None:
        return Serving.SERVICE_UNKNOWN
    return Serving.SERVING if is_ready and not readiness.draining else Serving.NOT_SERVING


def response(serving: Serving) -> bytes:
    """Return a HealthCheckResponse."""
    return protobuf.number(_STATUS, serving)
