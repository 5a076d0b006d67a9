"""Requests that are tried: what a person says of one, as the facts that a decision takes."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gateway.decide.credentials import Credential, NoCredential, Recorded
from gateway.decide.facts import RequestFacts
from gateway.decide.route import METHODS, Api, path_of

# What chance decides of a request that is tried, it decides as in the middle of all there are.
CHANCE = 0.5
NOBODY = NoCredential("key_missing", "the request shows no credential")


class TriedRequest(Struct, frozen=True):
    """A request as a person describes it.

    Attributes:
        tenant: "" for a caller whom nobody knows.
        key_id: of one of its keys; "" for a credential with ``scopes``.
        scopes: () for every scope that a key of the tenant has.
        version: what the path asks for, "" for none.
        headers: those that decisions read; names in any case.
        body_bytes: None for what ``content-length`` says.
    """

    model: str
    tenant: str = ""
    key_id: str = ""
    scopes: tuple[str, ...] = ()
    version: str = ""
    api: Api = Api.PREDICT
    headers: Mapping[str, str] = {}
    body_bytes: int | None = None


def facts_of(request: TriedRequest, wall_s: float) -> RequestFacts:
    """Return the facts that the gateway would gather of this request."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    length = headers.get("content-length", "")
    return RequestFacts(
        method=METHODS.get(request.api, ("POST",))[0],
        path=path_of(request.api, request.model, request.version),
        credential=_credential(request),
        pinned_version=headers.get("penstock-version", ""),
        timeout_ms=headers.get("penstock-timeout-ms", ""),
        content_length=request.body_bytes if request.body_bytes is not None else _whole(length),
        wall_s=wall_s,
        headers=tuple(sorted(headers.items())),
        draw=CHANCE,
    )


def _credential(request: TriedRequest) -> Credential:
    if not request.tenant:
        return NOBODY
    return Recorded(request.tenant, request.key_id, request.scopes)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
