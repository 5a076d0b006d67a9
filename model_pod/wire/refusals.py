"""Refusals that a pod can give, and the one shape of every refusal's body.

A refusal names a reason from a closed registry. The gateway's registry (``gateway.errors``) is this one and its own;
``docs/reference/reasons.md`` is generated from both.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

REASON_HEADER = "penstock-reason"


class Reason(Struct, frozen=True):
    """One entry of the registry.

    Attributes:
        name: what ``reason`` in the body and ``penstock-reason`` in the head say.
        status: HTTP status.
        retryable: whether the same request, sent again later, may be answered without being run twice.
        torchserve_type: what TorchServe puts in ``type`` for the nearest refusal it has.
        meaning: one sentence for the reference page.
    """

    name: str
    status: int
    retryable: bool
    torchserve_type: str
    meaning: str


_BAD = "BadRequestException"
_INTERNAL = "InternalServerException"
_UNAVAILABLE = "ServiceUnavailableException"

POD_REASONS: tuple[Reason, ...] = (
    Reason("malformed_http", 400, False, _BAD, "The request is not HTTP/1.1 as RFC 9112 writes it."),
    Reason("malformed_body", 400, False, _BAD, "The body is not what its content type or the protocol says."),
    Reason("bad_input", 400, False, _BAD, "An input's name, datatype, shape or data is not what the model takes."),
    Reason("path_not_found", 404, False, "ResourceNotFoundException", "No API lives at this path."),
    Reason("model_not_found", 404, False, "ModelNotFoundException", "No model has this name."),
    Reason("version_not_found", 404, False, "ModelVersionNotFoundException", "The model has no such version."),
    Reason("method_not_allowed", 405, False, "MethodNotAllowedException", "The path does not take this method."),
    Reason("head_too_slow", 408, True, "RequestTimeoutException", "The request's head did not arrive in time."),
    Reason("body_too_slow", 408, True, "RequestTimeoutException", "The request's body did not arrive in time."),
    Reason("reader_too_slow", 408, False, "RequestTimeoutException", "A streamed answer was not read for too long."),
    Reason("idempotency_in_progress", 409, True, _BAD, "A request with this idempotency key is being answered."),
    Reason("idempotency_outcome_gone", 409, False, _BAD, "A request with this key has run; its answer was not kept."),
    Reason("body_too_large", 413, False, _BAD, "The body is larger than the limit."),
    Reason("target_too_long", 414, False, _BAD, "The request target is longer than 8 KiB."),
    Reason("expectation_not_supported", 417, False, _BAD, "Only `Expect: 100-continue` is supported."),
    Reason("idempotency_key_reused", 422, False, _BAD, "The idempotency key was used with another payload."),
    Reason("row_refused", 422, False, _INTERNAL, "The model's handler refused this row."),
    Reason("head_too_large", 431, False, _BAD, "The header fields are larger or more than the limit."),
    Reason("handler_failed", 500, False, _INTERNAL, "The model's handler raised an error on this row."),
    Reason("bad_output", 500, False, _INTERNAL, "The handler's answer cannot be sent: wrong count, type or size."),
    Reason("transfer_coding_not_supported", 501, False, _BAD, "The only transfer coding supported is `chunked`."),
    Reason("inference_lost", 502, False, _INTERNAL, "The inference process died while it ran this request."),
    Reason("queue_full", 503, True, _UNAVAILABLE, "The pod's queue has no room for this request."),
    Reason("model_not_ready", 503, True, _UNAVAILABLE, "The model is loading or could not be loaded."),
    Reason("pod_draining", 503, True, _UNAVAILABLE, "The pod is finishing what it has and takes nothing new."),
    Reason("deadline_exceeded", 504, True, _UNAVAILABLE, "The request's deadline passed before it was answered."),
    Reason("deadline_exceeded_running", 504, False, _UNAVAILABLE, "The request's deadline passed while a pod had it."),
    Reason("http_version_not_supported", 505, False, _BAD, "HTTP/1.1 and HTTP/1.0 are supported."),
    Reason("out_of_memory", 507, False, _INTERNAL, "The device or the host had no memory left for this row."),
)

REASONS: dict[str, Reason] = {reason.name: reason for reason in POD_REASONS}


class Refused(Exception):
    """A request ends here, with a reason and a sentence for its caller.

    Args:
        reason: a name from a registry of reasons.
        message: what happened and how to mend it; names no path, address or process of ours.
        status: overrides the registry's status where a handler chose its own; 0 keeps it.
    """

    def __init__(self, reason: str, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.status = status


def refusal_body(reason: Reason, message: str, request_id: str, status: int = 0) -> bytes:
    """Return the JSON body of a refusal.

    ``error`` is what Open Inference Protocol clients look for; ``code``, ``type`` and ``message`` are TorchServe's.
    """
    return (
        msgspec.json.encode(
            {
                "error": message,
                "code": status or reason.status,
                "type": reason.torchserve_type,
                "message": message,
                "reason": reason.name,
                "retryable": reason.retryable,
                "request_id": request_id,
            }
        )
        + b"\n"
    )
