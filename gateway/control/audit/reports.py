"""Reports of the audit log, as the management API gives them and commands read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import structs

from gateway.control.audit.record import Detail, Sealed


@dataclass(frozen=True)
class AuditRecordReport:
    """Who did what to what, and the hash that ties it to the record before.

    `reason` is as the actor gave it; `prev` and `hash` are hexadecimal digits; `at` is UTC in RFC 3339.
    """

    n: int
    at: str
    actor: str
    action: str
    subject: str
    from_generation: int
    to_generation: int
    detail: Detail
    reason: str
    prev: str
    hash: str


@dataclass(frozen=True)
class AuditReport:
    """Records, newest first; `unreadable` lines among them are what `penstock audit verify` is for."""

    records: list[AuditRecordReport]
    unreadable: int


def audit_report(found: Sequence[Sealed], unreadable: int) -> AuditReport:
    """Report some records."""
    return AuditReport(
        [AuditRecordReport(**structs.asdict(sealed.record), hash=sealed.hash.hex()) for sealed in found], unreadable
    )
