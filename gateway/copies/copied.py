"""A request as it is sent to a shadow or kept: nothing is in it that policy leaves out; and who sends it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from gateway.copies.compare.answer import Answer
from gateway.copies.messages import Answered
from policies.snapshot.release import LeftOut
from policies.snapshot.tenant import Tenant

Fields = tuple[tuple[bytes, bytes], ...]


class Why(StrEnum):
    """Why a request that was sampled for a shadow was not compared; the values of a metric's label ``why``."""

    NO_CONSENT = "no_consent"  # its tenant does not allow copies, or is left out, by the generation in force here
    NOT_REDACTABLE = "not_redactable"  # its body has to lose fields, and cannot be read
    NOT_FOR_VERSION = "not_for_version"  # it names a version where that cannot be taken out
    QUEUE_FULL = "queue_full"  # too many copies wait already, or hold too much memory
    NO_POD = "no_pod"  # no pod of the version is ready
    BUSY = "busy"  # its pods have enough to do
    BUDGET = "budget"  # the shadow has used its devices' time of this period
    REFUSED = "refused"  # a pod had no room for it
    GONE = "gone"  # its shadow is no more, or has changed


class Allowed:
    """Whose requests may be copied by the generation in force, whatever a worker that is one behind may tell."""

    def __init__(self, tenants: Mapping[str, Tenant]) -> None:
        self._tenants = tenants

    def __call__(self, answered: Answered, never: LeftOut) -> bool:
        """Whether a request may be, where ``never`` is left out."""
        return self.tenant(answered.tenant, never)

    def tenant(self, name: str, never: LeftOut) -> bool:
        """Whether requests of a tenant may be, where ``never`` is left out."""
        tenant = self._tenants.get(name)
        if tenant is None or not tenant.is_copied:
            return False
        return tenant.name not in never.tenants and tenant.tier not in never.tiers


class Copied(Struct, frozen=True):
    """One request without what policy drops.

    Attributes:
        span_id: of the ``gateway.request`` span of the request that was copied.
        version: that answered it; ``target`` may name it.
    """

    request_id: str
    trace_id: str
    span_id: str
    sampled: bool
    model: str
    version: str
    tenant: str
    method: str
    target: str
    fields: Fields
    body: bytes


class NotSent(Struct, frozen=True):
    """No pod has run it, so there is nothing to compare."""

    why: Why


class Asks(Protocol):
    """Sends copies to pods of a version, over connections of its own."""

    def why_not(self, model: str, version: str, busy_share: float) -> Why | None:
        """Return why no copy should be sent to a version just now: no pod is ready, or they have enough to do."""
        ...

    async def ask(self, copied: Copied, version: str, shadow: str, deadline_s: float) -> Answer | NotSent:
        """Return what a ready pod of ``version`` answers; it is asked once.

        A pod that took the request and gave no answer in ``deadline_s`` seconds, or none at all, has answered with the
        status 0.

        Args:
            shadow: told to the pod as ``penstock-shadow``.
        """
        ...
