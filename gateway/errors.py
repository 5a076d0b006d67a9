"""The tree of what can go wrong in the gateway, and the closed registry of reasons that its refusals name.

::

    Refused                    answer it and be done (model_pod.wire.refusals)
    PodFailed                  an attempt at one pod has no answer
    ├── PodUnreachable         it has run nothing: another pod may be tried
    └── PodBroke               sent and lost, or answered with nonsense: it may have run; policy says what then
"""

from __future__ import annotations

from model_pod.wire.link import PodCharge
from model_pod.wire.refusals import POD_REASONS, Reason

NO_POD_READY = "no_pod_ready"
_UNAVAILABLE = "ServiceUnavailableException"
_INVALID_KEY = "InvalidKeyException"

GATEWAY_REASONS: tuple[Reason, ...] = (
    Reason("bad_header", 400, False, "BadRequestException", "A header of Penstock's own has a value it cannot have."),
    Reason("key_missing", 401, False, _INVALID_KEY, "The request carries no API key."),
    Reason("key_unknown", 401, False, _INVALID_KEY, "The API key belongs to nobody."),
    Reason("key_not_valid_now", 401, False, _INVALID_KEY, "The API key is not valid yet, or no longer."),
    Reason("key_revoked", 401, False, _INVALID_KEY, "The API key was revoked."),
    Reason("token_refused", 401, False, _INVALID_KEY, "The token is not accepted."),
    Reason("too_many_bad_keys", 429, True, _UNAVAILABLE, "The caller's address has shown too many bad keys lately."),
    Reason("model_not_allowed", 403, False, _INVALID_KEY, "The tenant may not call this model."),
    Reason("scope_missing", 403, False, _INVALID_KEY, "The API key lacks the scope that this needs."),
    Reason("rate_limited", 429, True, _UNAVAILABLE, "A rate limit of the caller is used up for the moment."),
    Reason("in_flight_limited", 429, True, _UNAVAILABLE, "A limit on requests in flight has no place left."),
    Reason("quota_exhausted", 429, True, _UNAVAILABLE, "A quota of the caller is used up for its period."),
    Reason("quota_demoted", 429, True, _UNAVAILABLE, "A quota is over a step that demotes, and pods are busy."),
    Reason("quota_pending", 503, True, _UNAVAILABLE, "The ledger has not granted more of a quota yet."),
    Reason("limits_busy", 503, True, _UNAVAILABLE, "The limits could not be charged in time."),
    Reason("encoding_not_supported", 501, False, "BadRequestException", "gRPC messages are compressed by gzip or not."),
    Reason("pod_lost", 502, False, "InternalServerException", "The pod was lost while it had the request."),
    Reason(
        "pod_bad_answer", 502, False, "InternalServerException", "The pod's answer was not one that a pod may give."
    ),
    Reason(NO_POD_READY, 503, True, _UNAVAILABLE, "No pod of the version is ready."),
    Reason("pods_busy", 503, True, _UNAVAILABLE, "The version's pods are busy, and no place to wait for them is left."),
    Reason("shed", 503, True, _UNAVAILABLE, "The pods are busy, and others have a better claim on the places to wait."),
    Reason("waited_too_long", 503, True, _UNAVAILABLE, "No pod had room within its tier's longest wait."),
    Reason("would_be_late", 504, True, _UNAVAILABLE, "It would have waited beyond its deadline, and was not begun."),
    Reason("gateway_stopped", 503, False, _UNAVAILABLE, "The gateway stopped while a pod had the request."),
    Reason("connections_full", 503, True, _UNAVAILABLE, "The gateway has as many connections as it may have."),
    Reason("feedback_unavailable", 503, True, _UNAVAILABLE, "What takes late labels is not there just now."),
    Reason("overload_memory", 503, True, _UNAVAILABLE, "The gateway is short of memory, and finishes what it has."),
)

REASONS: dict[str, Reason] = {reason.name: reason for reason in (*POD_REASONS, *GATEWAY_REASONS)}

CLIENT_GONE = "client_gone"
"""Why a request was settled whose caller left: no refusal, for nobody reads it. Counted as 499, as nginx writes it."""


def status_of(reason: str) -> int:
    """Return the status that a request is counted under."""
    return 499 if reason == CLIENT_GONE else REASONS[reason].status


class PodFailed(Exception):
    """An attempt at one pod ended without an answer.

    Attributes:
        reason: the registry's name for it, should it reach the caller.
        is_counted: the pod's health knows of it; one loss that ends many requests is one failure.
    """

    reason = "pod_lost"
    is_counted = False


class PodUnreachable(PodFailed):
    """The pod has run nothing of the request: it could not be reached, or it did not take it.

    Args:
        is_pods_fault: False when this process had no room for another connection, or the pod is only leaving.
        has_refused: the pod was reached, and says that it did not take the request.
        is_leaving: the pod says that it is.
    """

    reason = NO_POD_READY

    def __init__(
        self, message: str, *, is_pods_fault: bool, has_refused: bool = False, is_leaving: bool = False
    ) -> None:
        super().__init__(message)
        self.is_pods_fault = is_pods_fault
        self.has_refused = has_refused
        self.is_leaving = is_leaving


class PodBroke(PodFailed):
    """The connection or the exchange ended, or its bytes made no sense, after some of the request was sent.

    Args:
        charge: what the pod says that the request cost; None where it does not.
    """

    def __init__(self, message: str, reason: str = "pod_lost", charge: PodCharge | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.charge = charge
