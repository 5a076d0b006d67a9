"""Rollout desk: shows rollouts and does what people want of them; each order is in the audit log before it is done."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from gateway.control.audit.log import AuditLog
from gateway.control.audit.record import Change
from gateway.control.rollout_reports import RolloutReport, RolloutsReport
from gateway.control.rollouts.keeper import Rollout, RolloutKeeper
from gateway.control.rollouts.store import Overtaken, StoreUnavailable
from gateway.control.rollouts.view import rollout_report, rollouts_report, without_history
from gateway.control.rollouts.words import detail_of, subject_of
from gateway.decide.rollouts.machine import Command, MakesNoSense, Order
from model_pod.wire.refusals import Refused

_NOT_FOUND = "The policy in force has no canary for this model; `penstock rollout status` shows those that it has."


class RolloutDesk:
    """What the management API does with rollouts."""

    def __init__(self, keeper: RolloutKeeper, audit: AuditLog, wall_s: Callable[[], float] = time.time) -> None:
        self._keeper = keeper
        self._audit = audit
        self._wall_s = wall_s

    def report(self, allows: Callable[[str], bool]) -> RolloutsReport:
        """Return the rollouts of the models that are allowed, each without what it was like before."""
        shown = [one for model, one in self._keeper.rollouts.items() if allows(model)]
        whole = rollouts_report(shown, self._keeper.generation, self._wall_s())
        return RolloutsReport(whole.at_s, tuple(without_history(one) for one in whole.rollouts))

    def one(self, model: str) -> RolloutReport:
        """Return one model's rollout.

        Raises:
            Refused: rollout_not_found.
        """
        return rollout_report(self._found(model), self._keeper.generation, self._wall_s())

    async def order(
        self, actor: str, model: str, command: Command, reason: str, from_step: int | None = None
    ) -> RolloutReport:
        """Do what somebody wants with a model's rollout, and return how it stands then.

        Raises:
            Refused: rollout_not_found, rollout_refused, rollouts_not_kept or audit_unavailable; nothing changed.
        """
        rollout, order = self._found(model), Order(command, actor, reason, from_step)
        try:
            wanted = self._keeper.preview(rollout, order)
        except MakesNoSense as error:
            raise Refused("rollout_refused", str(error)) from None
        verdict = rollout.sight.verdict if rollout.sight is not None else None
        subject, action = subject_of(model, rollout.progress.canary), _ACTIONS[command]
        detail = detail_of(rollout.progress, wanted, verdict)
        await asyncio.to_thread(self._audit.record, actor, action, subject, detail, reason)
        try:
            await self._obey(rollout, order)
        except Refused as refused:
            # The log says already that it is done.
            generation = self._audit.generation
            failed = Change(
                actor, f"{action}_failed", subject, {"why": refused.message}, reason, generation, generation
            )
            await asyncio.to_thread(self._audit.note, failed)
            raise
        return self.one(model)

    async def _obey(self, rollout: Rollout, order: Order) -> None:
        try:
            await self._keeper.order(rollout, order)
        except MakesNoSense as error:
            raise Refused("rollout_refused", str(error)) from None
        except Overtaken as error:
            raise Refused("rollout_refused", f"Something else has just changed it: {error}. Look again.") from None
        except StoreUnavailable as error:
            raise Refused("rollouts_not_kept", f"Nothing was changed: rollouts cannot be kept: {error}.") from None

    def _found(self, model: str) -> Rollout:
        rollout = self._keeper.rollouts.get(model)
        if rollout is None:
            raise Refused("rollout_not_found", _NOT_FOUND)
        return rollout


_ACTIONS = {
    Command.PAUSE: "canary.pause",
    Command.RESUME: "canary.resume",
    Command.PROMOTE: "canary.promote",
    Command.PROMOTE_TO_END: "canary.promote",
    Command.ROLLBACK: "canary.rollback",
}
