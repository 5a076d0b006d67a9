"""Quota desk: shows quotas and changes grants, for people; each change is in the audit log before it is made."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

from gateway.control.audit.log import AuditLog
from gateway.control.audit.record import Change
from gateway.control.events import Say
from gateway.control.ledger.protocol import MAX_GRANTS, Grant, LedgerUnavailable, TooManyGrants
from gateway.control.quota_book import OfTenant, quotas_of
from gateway.control.quota_keeper import QuotaKeeper
from gateway.control.quota_reports import GrantReport, GrantsReport, QuotasReport
from gateway.control.quota_view import amount_of, amount_text, grant_report, grants_report, quotas_report
from model_pod.wire.refusals import Refused
from policies import units
from policies.errors import advice
from policies.snapshot.generation import Snapshot

_ID_BYTES = 6
_TOO_MANY = "As many grants count as can count at once; end one first."
# Whoever needs more for longer edits the quota.
MAX_GRANT_S = 366 * 86_400.0


class QuotaDesk:
    """What the management API does with quotas."""

    def __init__(
        self,
        keeper: QuotaKeeper,
        in_force: Callable[[], Snapshot],
        audit: AuditLog,
        say: Say,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._keeper = keeper
        self._in_force = in_force
        self._audit = audit
        self._say = say
        self._wall_s = wall_s

    async def report(self, tenant: str | None) -> QuotasReport:
        """Return every quota, or those of one tenant."""
        standings = [one for one in await self._keeper.show() if tenant in (None, one.tenant)]
        return quotas_report(standings, self._wall_s(), self._keeper.trouble)

    async def grants(self, tenant: str | None) -> GrantsReport:
        """Return grants, those that ended lately too.

        Raises:
            Refused: ledger_unavailable.
        """
        try:
            grants = await self._keeper.grants()
        except LedgerUnavailable as error:
            _unavailable(error)
        shown = [one for one in grants if tenant is None or one.account.startswith(f"tenant/{tenant}/")]
        return grants_report(shown, self._wall_s())

    async def grant(self, actor: str, tenant: str, quota: str, asked: tuple[str, str, str]) -> GrantReport:
        """Add an amount to a quota until a moment.

        Args:
            asked: the amount and the moment, as policy files write them, and the reason.

        Raises:
            Refused: quota_not_found, bad_query, ledger_unavailable or audit_unavailable; nothing changed.
        """
        amount, until, reason = asked
        subject = _subject(tenant, quota)
        of = next((one for account, one in quotas_of(self._in_force()).items() if _is_of(account, subject)), None)
        if of is None:
            raise Refused("quota_not_found", "No tenant has a quota of this name; `penstock quota show` shows all.")
        grant = self._grant(actor, of, amount, until, reason)
        await self._check_room()
        detail = {"id": grant.id, "amount": grant.amount, "meter": of.quota.meter, "until": until}
        await self._record(actor, "quota.grant", subject, detail, reason)
        async with self._failure_recorded(actor, "quota.grant_failed", subject, grant.id, reason):
            await self._add(grant)
        told = amount_text(grant.amount, of.quota.meter)
        self._say(f"{actor} grants {told} on top of quota {quota} of tenant {tenant} until {until}: {reason}")
        return grant_report(grant, self._wall_s())

    async def _check_room(self) -> None:
        try:
            grants = await self._keeper.grants()
        except LedgerUnavailable as error:
            _unavailable(error)
        # Those that have ended give way to the new one.
        if sum(one.until_s > self._wall_s() for one in grants) >= MAX_GRANTS:
            raise Refused("too_many_grants", _TOO_MANY)

    async def _add(self, grant: Grant) -> None:
        try:
            await self._keeper.add_grant(grant)
        except TooManyGrants:
            raise Refused("too_many_grants", _TOO_MANY) from None
        except LedgerUnavailable as error:
            # It may have failed only after the grant was kept, which counts then as soon as the ledger is well again.
            if not await self._is_kept(grant):
                _unavailable(error)

    async def _is_kept(self, grant: Grant) -> bool:
        try:
            return any(one.id == grant.id for one in await self._keeper.grants())
        except LedgerUnavailable:
            return False

    def _grant(self, actor: str, of: OfTenant, amount: str, until: str, reason: str) -> Grant:
        now_s = self._wall_s()
        try:
            granted, until_s = amount_of(amount, of.quota.meter), units.moment_unix_s(until)
        except units.UnitError as error:
            raise Refused("bad_query", advice(error.problem, error.fix)) from None
        if not granted:
            raise Refused("bad_query", "A grant of nothing changes nothing.")
        if not now_s < until_s <= now_s + MAX_GRANT_S:
            raise Refused("bad_query", f"{until} is not within the coming year; for longer, edit the quota's limit.")
        return Grant(secrets.token_hex(_ID_BYTES), of.account, granted, until_s, actor, reason, now_s)

    async def end(self, actor: str, tenant: str, quota: str, grant_id: str, reason: str) -> GrantReport:
        """Let a grant end now.

        Raises:
            Refused: grant_not_found, ledger_unavailable or audit_unavailable; nothing changed.
        """
        subject = _subject(tenant, quota)
        try:
            live = [one for one in await self._keeper.grants() if one.until_s > self._wall_s()]
            if not any(one.id == grant_id and _is_of(one.account, subject) for one in live):
                raise Refused("grant_not_found", "This quota has no such grant that counts now.")
        except LedgerUnavailable as error:
            _unavailable(error)
        await self._record(actor, "quota.revoke_grant", subject, {"id": grant_id}, reason)
        async with self._failure_recorded(actor, "quota.revoke_grant_failed", subject, grant_id, reason):
            ended = await self._end(grant_id, actor)
        self._say(f"{actor} takes back a grant on top of quota {quota} of tenant {tenant}: {reason}")
        return grant_report(ended, self._wall_s())

    async def _end(self, grant_id: str, actor: str) -> Grant:
        try:
            ended = await self._keeper.end_grant(grant_id, actor)
        except LedgerUnavailable as error:
            _unavailable(error)
        if ended is None:
            raise Refused("grant_not_found", "This grant has just ended.")
        return ended

    @asynccontextmanager
    async def _failure_recorded(
        self, actor: str, action: str, account: str, grant_id: str, reason: str
    ) -> AsyncIterator[None]:
        """The log says already that the change is made: if it is not, it has to say that too."""
        try:
            yield
        except Refused as refused:
            generation = self._audit.generation
            detail = {"id": grant_id, "why": refused.message}
            change = Change(actor, action, account, detail, reason, generation, generation)
            await asyncio.to_thread(self._audit.note, change)
            raise

    async def _record(self, actor: str, action: str, account: str, detail: dict[str, object], reason: str) -> None:
        await asyncio.to_thread(self._audit.record, actor, action, account, detail, reason)


def _subject(tenant: str, quota: str) -> str:
    return f"tenant/{tenant}/quota/{quota}"


def _is_of(account: str, subject: str) -> bool:
    """Whether an account is a quota's, whatever it counts."""
    return account.rpartition("/")[0] == subject


def _unavailable(error: LedgerUnavailable) -> NoReturn:
    raise Refused("ledger_unavailable", f"Nothing was changed: the ledger of quotas cannot be used: {error}") from error
