"""Delivers what outboxes hold: one round at a time for each receiver, so that none waits for what another takes.

Nobody waits for it. What could not be told is tried again, with longer pauses; a line says that it fails, and another
that it works again.
"""

from __future__ import annotations

import asyncio
import importlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.control.alerting.alertmanager import alerts_body
from gateway.control.alerting.outbox import Outbox, Outboxes, Result
from gateway.control.alerting.receivers import Receiver, receivers_of
from gateway.control.alerting.signature import BadKey, signed
from gateway.control.alerting.webhook import message_id, webhook_body
from gateway.control.discovery.resolver import NotResolved, Resolve, ThreadedResolver
from gateway.control.events import Say
from gateway.control.secret_places import SecretMissing, read_secret
from gateway.control.slo_kept import Notice
from policies.snapshot.mesh import Alerting
from telemetry.logs.line import warning

_LOOK_EVERY_S = 1.0
# Of one body, and of one round of posts.
_MAX_OF_A_BODY = 100
_MAX_OF_A_ROUND = 20
_MAX_NAMED = 3

Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[None]]
"""Posts a body to an address with more header fields; raises ``PostFailed``."""

Note = Callable[[str, Sequence[Notice], str, float, str], None]
"""Told what became of telling a receiver: its name, of what, the result, when by the wall's clock, and why."""


class AlertDelivery:
    """Tells every receiver of the policy in force.

    Args:
        outboxes: what is to be told.
        firing: returns the alerts that fire at a moment of the wall's clock.
        note: for whoever remembers what became of each.
        post: for tests; the true one is imported when there is something to tell.
        resolve: looks names of receivers up before they are told; the true one uses threads of its own.
    """

    def __init__(
        self,
        outboxes: Outboxes,
        firing: Callable[[float], list[Notice]],
        say: Say,
        note: Note | None = None,
        post: Post | None = None,
        resolve: Resolve | None = None,
        wall_s: Callable[[], float] = time.time,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outboxes = outboxes
        self._firing = firing
        self._say = say
        self._note = note
        self._post = post
        self._resolve = resolve or ThreadedResolver()
        self._wall_s = wall_s
        self._steady_s = steady_s
        self._receivers: dict[str, Receiver] = {}
        self._rounds: dict[str, asyncio.Task[None]] = {}

    def follow(self, alerting: Alerting) -> None:
        """Tell these from now on."""
        self._receivers = {receiver.name: receiver for receiver in receivers_of(alerting)}
        self._rounds = {name: round_ for name, round_ in self._rounds.items() if name in self._receivers}

    async def run(self) -> None:
        """Tell what is due, for ever."""
        async with asyncio.TaskGroup() as rounds:
            while True:
                for receiver in self._due():
                    self._rounds[receiver.name] = rounds.create_task(self.tell(receiver))
                await asyncio.sleep(_LOOK_EVERY_S)

    def _due(self) -> list[Receiver]:
        """Return who is to be told something now, less those who are being told."""
        now_s, wall_s = self._steady_s(), self._wall_s()
        due = []
        for name, receiver in self._receivers.items():
            outbox, under_way = self._outboxes.by_name.get(name), self._rounds.get(name)
            if outbox is None or (under_way is not None and not under_way.done()):
                continue
            self._noted(receiver, outbox.drop_old(wall_s), Result.DROPPED, "it was over for a day")
            if outbox.is_due(now_s, receiver.is_alertmanager and bool(self._firing(wall_s))):
                due.append(receiver)
        return due

    async def tell(self, receiver: Receiver) -> None:
        """Tell one receiver what it is still to be told."""
        outbox = self._outboxes.by_name.get(receiver.name)
        if outbox is None:
            return
        if receiver.is_alertmanager:
            for notices in self._for_alertmanager(outbox):
                if not await self._told(receiver, outbox, notices, alerts_body(notices, self._wall_s())):
                    return
            return
        for notice in outbox.waiting[:_MAX_OF_A_ROUND]:
            if not await self._told(receiver, outbox, [notice], webhook_body(notice, receiver.name)):
                return

    def _for_alertmanager(self, outbox: Outbox) -> list[list[Notice]]:
        """Return all that fires and what has ended since it was last told, in parts."""
        ended = {notice.alert: notice for notice in outbox.waiting if notice.ended_s is not None}
        began = {notice.alert: notice for notice in outbox.waiting if notice.ended_s is None}
        firing = {notice.alert: notice for notice in self._firing(self._wall_s())}
        all_of_them = list((ended | began | firing).values())
        return [all_of_them[at : at + _MAX_OF_A_BODY] for at in range(0, len(all_of_them), _MAX_OF_A_BODY)]

    async def _told(self, receiver: Receiver, outbox: Outbox, notices: Sequence[Notice], body: bytes) -> bool:
        """Post one body; whether to go on with the next."""
        posting = await asyncio.to_thread(importlib.import_module, "gateway.control.alerting.post")
        try:
            url, proofs = await asyncio.to_thread(_address, receiver, notices[0], self._wall_s(), body)
            if "authorization" in proofs and posting.is_in_the_clear(url):
                raise SecretMissing("over plain HTTP anybody on the way reads the authorization: have it at https")
            await self._look_up(posting.name_in(url))
            await (self._post or posting.post)(url, body, proofs)
        except posting.PostRefused as refusal:
            self._refuses(receiver, outbox, notices, str(refusal))
            outbox.refused(notices, self._steady_s(), random.random())
            self._noted(receiver, notices, Result.REFUSED, str(refusal))
            return True
        except (posting.PostFailed, SecretMissing, NotResolved) as failure:
            self._fails(receiver, outbox, str(failure))
            outbox.failed(notices, self._steady_s(), random.random())
            self._noted(receiver, notices, Result.FAILED, str(failure))
            return False
        if outbox.failures:
            self._say(f"{receiver.name} is told of alerts again")
        outbox.told(notices, self._steady_s())
        self._noted(receiver, notices, Result.OK)
        return True

    async def _look_up(self, name: str) -> None:
        """Find out whether a receiver's name can be looked up; "" needs not.

        The client's own look-up takes a thread of those that all of the supervisor shares, and keeps it for as long as
        a name server is mute: with a few receivers, policy, the audit log and metrics would wait for that too.

        Raises:
            NotResolved: it cannot.
        """
        try:
            if name:
                await self._resolve(name)
        except NotResolved as error:
            raise NotResolved(f"its name cannot be looked up: {error}") from None

    def _noted(self, receiver: Receiver, notices: Sequence[Notice], result: Result, why: str = "") -> None:
        if self._note is not None and notices:
            self._note(receiver.name, notices, result.value, self._wall_s(), why)

    def _refuses(self, receiver: Receiver, outbox: Outbox, notices: Sequence[Notice], why: str) -> None:
        """Say what will not be told, each time; that an Alertmanager refuses what fires, once, for it is told again."""
        if outbox.failures and not any(_is_lost(receiver, notice) for notice in notices):
            return
        self._say(
            warning(f"{receiver.name} refuses to be told of {_named(notices)}: {why}; {_after_refusal(receiver)}")
        )

    def _fails(self, receiver: Receiver, outbox: Outbox, why: str) -> None:
        if not outbox.failures:
            self._say(f"{receiver.name} cannot be told of alerts: {why}")


def _is_lost(receiver: Receiver, notice: Notice) -> bool:
    return not receiver.is_alertmanager or notice.ended_s is not None


def _named(notices: Sequence[Notice]) -> str:
    shown = ", ".join(f"{one.alert.name} of {one.alert.slo} of {one.alert.model}" for one in notices[:_MAX_NAMED])
    return shown + (f" and {len(notices) - _MAX_NAMED} more" if len(notices) > _MAX_NAMED else "")


def _after_refusal(receiver: Receiver) -> str:
    if receiver.is_alertmanager:
        return (
            "it is told again within a minute of what fires, and no more of what is over. Is what alerts.alertmanager "
            "of mesh.yaml names an Alertmanager with API v2? Its own log says more"
        )
    return (
        "it is not told of that again. Does what alerts.webhooks of mesh.yaml names take the body of Alertmanager's "
        "webhooks, version 4? Its own log says more"
    )


def _address(receiver: Receiver, notice: Notice, wall_s: float, body: bytes) -> tuple[str, dict[str, str]]:
    """Read where a receiver is and how we prove who we are, each time: files are replaced."""
    url = receiver.url if receiver.url.startswith("http") else read_secret(receiver.url)
    proofs = {"authorization": read_secret(receiver.authorization)} if receiver.authorization else {}
    if receiver.signature:
        try:
            proofs |= signed(read_secret(receiver.signature), message_id(notice), wall_s, body)
        except BadKey as bad:
            raise SecretMissing(f"{receiver.signature}: {bad}") from None
    return url, proofs
