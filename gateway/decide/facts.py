"""Facts: everything about one request that a decision may depend on, gathered at the edge."""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.credentials import Credential


class RequestFacts(Struct, frozen=True):
    """What is known of a request when its head is read.

    Attributes:
        method: upper case.
        path: percent-decoded; None when it does not decode.
        pinned_version: value of ``penstock-version``, "" when there is none.
        timeout_ms: value of ``penstock-timeout-ms`` as written, "" when there is none.
        content_length: bytes of the body as announced, 0 when it is not.
        wall_s: seconds since the epoch, for the dates of keys and the windows of quotas.
        headers: of those that some route decides by (``Tables.deciding_headers``): names in lower case, and values.
        draw: a number in [0, 1) by chance: what decides where nothing of the request does.
    """

    method: str
    path: str | None
    credential: Credential
    pinned_version: str
    timeout_ms: str
    content_length: int
    wall_s: float
    headers: tuple[tuple[str, str], ...] = ()
    draw: float = 0.0
