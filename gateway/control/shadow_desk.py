"""Shadow desk: shows what shadows have come to, and has recorded requests replayed and things forgotten, for people.

Each change is in the audit log before it is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from gateway.control.audit.log import AuditLog
from gateway.control.copies_desk import RUNNING, CopiesAway, CopiesDesk
from gateway.control.events import Say
from gateway.copies.reports import ReplayReport, ShadowReport
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from policies.snapshot.route import Route

MOST_AT_ONCE = 100_000
# A replay that cannot begin says so at once.
_FIRST_WORD_WITHIN_S = 1.0
_LOOK_EVERY_S = 0.02


class ShadowsReport(Struct, frozen=True):
    """What shadows had come to at ``at_s``, seconds since the epoch; 0.0 while nothing was told of any."""

    at_s: float
    shadows: tuple[ShadowReport, ...]


class Forgotten(Struct, frozen=True):
    """What is begun anew: a shadow of a model, or with "" all that was recorded of it."""

    model: str
    shadow: str


class ShadowDesk:
    """What the management API does with shadows and recordings."""

    def __init__(self, copies: CopiesDesk, in_force: Callable[[], Snapshot], audit: AuditLog, say: Say) -> None:
        self._copies = copies
        self._in_force = in_force
        self._audit = audit
        self._say = say

    def report(self) -> ShadowsReport:
        """Return what every shadow has come to."""
        reports = self._copies.reports
        return ShadowsReport(max((report.at_s for report in reports), default=0.0), reports)

    async def replay(self, actor: str, model: str, version: str, shadow: str, most: int) -> ReplayReport:
        """Begin a replay, and return how it stands; one that could not begin has failed.

        Raises:
            Refused: model_not_found, version_not_found, shadow_not_found, copies_unavailable or audit_unavailable.
        """
        route = self._route(model)
        if version not in route.versions:
            known = ", ".join(sorted(route.versions))
            raise Refused("version_not_found", f"{model} has no version {version}; it has {known}.")
        if shadow:
            _check_shadow(route, shadow)
        self._check_there()
        await self._record(actor, "shadow.replay", model, {"version": version, "shadow": shadow, "most": most})
        try:
            begun = self._copies.ask_replay(model, version, shadow, most)
        except CopiesAway as away:
            raise _unavailable(away) from None
        self._say(f"{actor} replays recorded requests of {model} to version {version}: replay {begun.number}")
        return await self._changed(begun)

    async def _changed(self, before: ReplayReport) -> ReplayReport:
        """Return a replay as soon as something new is told of it, or as it is when that takes too long."""
        now = before
        try:
            async with asyncio.timeout(_FIRST_WORD_WITHIN_S):
                while now is before:
                    await asyncio.sleep(_LOOK_EVERY_S)
                    now = self.look(before.model, before.number)
        except TimeoutError:
            pass
        return now

    def look(self, model: str, number: int) -> ReplayReport:
        """Return how a replay stands.

        Raises:
            Refused: replay_not_found.
        """
        found = self._copies.replay(model, number)
        if found is None:
            raise Refused("replay_not_found", f"There is no replay {number} of {model}, or it is long over.")
        return found

    async def cancel(self, actor: str, model: str, number: int) -> ReplayReport:
        """End a replay, and return how it stands; one that is over stays as it is.

        Raises:
            Refused: replay_not_found, copies_unavailable or audit_unavailable.
        """
        found = self.look(model, number)
        if found.state != RUNNING:
            return found
        self._check_there()
        await self._record(actor, "shadow.cancel_replay", model, {"number": number})
        try:
            self._copies.cancel_replay(model, number)
        except CopiesAway as away:
            raise _unavailable(away) from None
        return await self._changed(found)

    async def forget(self, actor: str, model: str, shadow: str) -> Forgotten:
        """Let a shadow begin anew: what was compared so far is thrown away.

        Raises:
            Refused: model_not_found, shadow_not_found, copies_unavailable or audit_unavailable; nothing changed.
        """
        _check_shadow(self._route(model), shadow)
        await self._forget(actor, Forgotten(model, shadow))
        self._say(f"{actor} lets shadow {shadow} of {model} begin anew")
        return Forgotten(model, shadow)

    async def forget_recordings(self, actor: str, model: str) -> Forgotten:
        """Throw away all that was recorded of a model.

        Raises:
            Refused: model_not_found, copies_unavailable or audit_unavailable; nothing changed.
        """
        self._route(model)
        await self._forget(actor, Forgotten(model, ""))
        self._say(f"{actor} throws away what was recorded of {model}")
        return Forgotten(model, "")

    async def _forget(self, actor: str, what: Forgotten) -> None:
        self._check_there()
        await self._record(actor, "shadow.forget", f"{what.model}/{what.shadow or 'recordings'}", {})
        try:
            self._copies.forget(what.model, what.shadow)
        except CopiesAway as away:
            raise _unavailable(away) from None

    def _check_there(self) -> None:
        if not self._copies.is_up:
            raise _unavailable(CopiesAway("no copies process runs: policy wants none, or it is being started"))

    def _route(self, model: str) -> Route:
        route = self._in_force().routes.get(model)
        if route is None:
            raise Refused("model_not_found", f"No route is for a model {model}.")
        return route

    async def _record(self, actor: str, action: str, subject: str, detail: dict[str, object]) -> None:
        await asyncio.to_thread(self._audit.record, actor, action, subject, detail)


def _check_shadow(route: Route, name: str) -> None:
    if all(shadow.name != name for shadow in route.shadows):
        known = ", ".join(shadow.name for shadow in route.shadows) or "none"
        raise Refused("shadow_not_found", f"{route.model} has no shadow {name}; it has {known}.")


def _unavailable(away: CopiesAway) -> Refused:
    return Refused("copies_unavailable", f"Nothing was done: {away}.")
