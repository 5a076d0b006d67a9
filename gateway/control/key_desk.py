"""Key desk: changes which keys are revoked, for people; each change is in the audit log before it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.control.audit.log import AuditLog
from gateway.control.audit.record import Change
from gateway.control.events import Say
from gateway.control.key_book import KeyBook
from gateway.control.key_reports import KeysReport, RevokedReport
from gateway.control.key_states import is_known
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot

_NOT_FOUND = (
    "No key has this id; `penstock key list` shows all. "
    "Tokens are jwt:ISSUER:SUBJECT, of an issuer of mesh.yaml, and certificates san:IDENTITY."
)


class KeyDesk:
    """What the management API does with keys."""

    def __init__(self, book: KeyBook, in_force: Callable[[], Snapshot], audit: AuditLog, say: Say) -> None:
        self._book = book
        self._in_force = in_force
        self._audit = audit
        self._say = say

    def report(self) -> KeysReport:
        """Return every key of the generation in force."""
        return self._book.report(self._in_force())

    async def revoke(self, actor: str, key_id: str, reason: str) -> RevokedReport:
        """Take a key out of use.

        Raises:
            Refused: key_not_found, keys_not_kept or audit_unavailable; nothing changed.
        """
        if not is_known(self._in_force(), key_id):
            raise Refused("key_not_found", _NOT_FOUND)
        if key_id in self._book.revoked:
            return RevokedReport(key_id, is_revoked=True, changed=False)
        self._book.check_room()
        await self._record(actor, "key.revoke", key_id, reason)
        async with self._failure_recorded(actor, "key.revoke_failed", key_id, reason):
            changed = self._book.revoke(key_id, actor, reason)
        self._say(f"the key {key_id} is revoked, by {actor}: {reason}")
        return RevokedReport(key_id, is_revoked=True, changed=changed)

    async def restore(self, actor: str, key_id: str, reason: str) -> RevokedReport:
        """Let a revoked key be used again as policy says, one that policy no longer has included.

        Raises:
            Refused: key_not_found, keys_not_kept or audit_unavailable; nothing changed.
        """
        if key_id not in self._book.revoked:
            if not is_known(self._in_force(), key_id):
                raise Refused("key_not_found", _NOT_FOUND)
            return RevokedReport(key_id, is_revoked=False, changed=False)
        await self._record(actor, "key.restore", key_id, reason)
        async with self._failure_recorded(actor, "key.restore_failed", key_id, reason):
            changed = self._book.restore(key_id)
        self._say(f"the key {key_id} is restored, by {actor}: {reason}")
        return RevokedReport(key_id, is_revoked=False, changed=changed)

    async def _record(self, actor: str, action: str, key_id: str, reason: str) -> None:
        await asyncio.to_thread(self._audit.record, actor, action, key_id, {}, reason)

    @asynccontextmanager
    async def _failure_recorded(self, actor: str, action: str, key_id: str, reason: str) -> AsyncIterator[None]:
        """The log says already that the change is made: if it is not, it has to say that too."""
        try:
            yield
        except Refused as refused:
            generation = self._audit.generation
            change = Change(actor, action, key_id, {"why": refused.message}, reason, generation, generation)
            await asyncio.to_thread(self._audit.note, change)
            raise
