"""Quota desk: shows quotas and changes grants, for people; each change is in the audit log before it is made."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import NoReturn

from gateway.control.audit.log import AuditLog
from gateway.control.events import Say
from gateway.control.ledger.protocol import Grant, LedgerUnavailable, TooManyGrants
from gateway.control.quota_book import OfTenant, quotas_of
from gateway.control.quota_keeper import QuotaKeeper
from gateway.control.quota_reports import GrantReport, GrantsReport, QuotasReport
from gateway.control.quota_view import amount_of, amount_text, grant_report, grants_report, quotas_report
from gateway.decide.tables import account_of
from model_pod.wire.refusals import Refused
from policies import units
from policies.snapshot import Quota, Snapshot

_ID_BYTES = 6
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
        return grants_report(shown, self._quotas(), self._wall_s())

    async def grant(self, actor: str, tenant: str, quota: str, asked: tuple[str, str, str]) -> GrantReport:
        """Add an amount to a quota until a moment.

        Args:
            asked: the amount and the moment, as policy files write them, and the reason.

        Raises:
            Refused: quota_not_found, bad_query, ledger_unavailable or audit_unavailable; nothing changed.
        """
        amount, until, reason = asked
        of = quotas_of(self._in_force()).get(account_of(tenant, quota))
        if of is None:
            raise Refused("quota_not_found", "No tenant has a quota of this name; `penstock quota show` shows all.")
        grant = self._grant(actor, of, amount, until, reason)
        detail = {"id": grant.id, "amount": grant.amount, "meter": of.quota.meter, "until": until}
        await self._record(actor, "quota.grant", of.account, detail, reason)
        try:
            await self._keeper.add_grant(grant)
        except LedgerUnavailable as error:
            _unavailable(error)
        except TooManyGrants:
            raise Refused("too_many_grants", "There are as many grants as are kept; end one first.") from None
        told = amount_text(grant.amount, of.quota.meter)
        self._say(f"{actor} grants {told} on top of quota {quota} of tenant {tenant} until {until}: {reason}")
        return grant_report(grant, (tenant, of.quota), self._wall_s())

    def _grant(self, actor: str, of: OfTenant, amount: str, until: str, reason: str) -> Grant:
        now_s = self._wall_s()
        try:
            granted, until_s = amount_of(amount, of.quota.meter), units.moment_unix_s(until)
        except units.UnitError as error:
            raise Refused("bad_query", f"{error}. {error.fix}") from None
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
        account = account_of(tenant, quota)
        try:
            live = [one for one in await self._keeper.grants() if one.until_s > self._wall_s()]
            if not any(one.id == grant_id and one.account == account for one in live):
                raise Refused("grant_not_found", "This quota has no such grant that counts now.")
            await self._record(actor, "quota.revoke_grant", account, {"id": grant_id}, reason)
            ended = await self._keeper.end_grant(grant_id, actor)
        except LedgerUnavailable as error:
            _unavailable(error)
        if ended is None:
            raise Refused("grant_not_found", "This grant has just ended.")
        self._say(f"{actor} takes back a grant on top of quota {quota} of tenant {tenant}: {reason}")
        return grant_report(ended, self._quotas().get(account), self._wall_s())

    def _quotas(self) -> dict[str, tuple[str, Quota]]:
        return {account: (of.tenant, of.quota) for account, of in quotas_of(self._in_force()).items()}

    async def _record(self, actor: str, action: str, account: str, detail: dict[str, object], reason: str) -> None:
        await asyncio.to_thread(self._audit.record, actor, action, account, detail, reason)


def _unavailable(error: LedgerUnavailable) -> NoReturn:
    raise Refused("ledger_unavailable", f"Nothing was changed: the ledger of quotas cannot be used: {error}") from error
