"""Sample desk: shows people samples of inputs and outputs, and has them purged; each is in the audit log first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from gateway.control.audit.log import AuditLog
from gateway.control.copies_desk import CopiesAway, CopiesDesk
from gateway.control.events import Say
from gateway.copies.messages import AskSamples, PurgeSamples, SamplesTold
from gateway.copies.reports import Sample
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot

MOST_AT_ONCE = 1000
_ANSWER_WITHIN_S = 10.0


class SamplesReport(Struct, frozen=True):
    """Samples, newest first of each model."""

    samples: tuple[Sample, ...]


class Purged(Struct, frozen=True):
    """How many samples were removed."""

    purged: int


class Wanted(Struct, frozen=True):
    """Which samples are meant; "" and 0.0 stand for any.

    Attributes:
        subject: whom they are about, as a request says it.
        before_s: of requests that began earlier, seconds since the epoch.
    """

    model: str = ""
    tenant: str = ""
    subject: str = ""
    before_s: float = 0.0

    def __repr__(self) -> str:
        """Say nothing of whom they are about."""
        return f"Wanted(model={self.model!r}, tenant={self.tenant!r}, before_s={self.before_s!r})"


class SampleDesk:
    """What the management API does with samples."""

    def __init__(self, copies: CopiesDesk, in_force: Callable[[], Snapshot], audit: AuditLog, say: Say) -> None:
        self._copies = copies
        self._in_force = in_force
        self._audit = audit
        self._say = say

    async def list(self, actor: str, model: str, tenant: str, why: str, most: int) -> SamplesReport:
        """Return which samples there are, without what is in them.

        Raises:
            Refused: model_not_found, copies_unavailable or audit_unavailable.
        """
        await self._record(actor, "sample.list", model, {"tenant": tenant, "why": why, "most": most})
        told = await self._ask(lambda number: AskSamples(number, model, tenant, why, most=most))
        if not told.samples:
            self._check(model)
        return SamplesReport(told.samples)

    async def show(self, actor: str, model: str, request_id: str) -> Sample:
        """Return one sample.

        Raises:
            Refused: sample_not_found, copies_unavailable or audit_unavailable.
        """
        await self._record(actor, "sample.read", model, {"request_id": request_id})
        told = await self._ask(lambda number: AskSamples(number, model, request_id=request_id, most=1))
        if not told.samples:
            raise Refused("sample_not_found", f"No sample of {model} is of request {request_id}, or it is gone.")
        return told.samples[0]

    async def purge(self, actor: str, wanted: Wanted) -> Purged:
        """Remove samples.

        Raises:
            Refused: model_not_found, copies_unavailable or audit_unavailable; nothing was removed, unless the
                message says that it was not all.
        """
        by = {"tenant": wanted.tenant, "before_s": wanted.before_s, "by_subject": bool(wanted.subject)}
        await self._record(actor, "sample.purge", wanted.model, by)
        asked = wanted.model, wanted.tenant, wanted.subject, wanted.before_s
        told = await self._ask(lambda number: PurgeSamples(number, *asked))
        if wanted.model and not told.purged:
            self._check(wanted.model)
        self._say(f"{actor} has removed {told.purged} samples of {wanted.model or 'every model'}")
        return Purged(told.purged)

    def _check(self, model: str) -> None:
        """Tell a name that stands for nothing from a model without samples; those of one that is gone may be kept on.

        Raises:
            Refused: model_not_found.
        """
        if model not in self._in_force().routes:
            raise Refused("model_not_found", f"No route is for a model {model}, and no such samples of it are kept.")

    async def _ask(self, make: Callable[[int], AskSamples | PurgeSamples]) -> SamplesTold:
        if all(route.samples is None for route in self._in_force().routes.values()):
            return SamplesTold(0)  # nothing is kept, whether a process runs or not
        told: asyncio.Future[SamplesTold] = asyncio.get_running_loop().create_future()

        def hear(answer: SamplesTold) -> None:
            if not told.done():  # else its time is over
                told.set_result(answer)

        try:
            number = self._copies.ask_samples(make, hear)
        except CopiesAway as away:
            raise Refused("copies_unavailable", f"Nothing was done: {away}.") from None
        try:
            async with asyncio.timeout(_ANSWER_WITHIN_S):
                answer = await told
        except TimeoutError:
            message = f"The copies process did not answer within {_ANSWER_WITHIN_S:g} s; ask again."
            raise Refused("copies_unavailable", message) from None
        finally:
            self._copies.give_up(number)
        if answer.problem:
            raise Refused("copies_unavailable", f"It is not known to be all done: {answer.problem}.")
        return answer

    async def _record(self, actor: str, action: str, subject: str, detail: dict[str, object]) -> None:
        await asyncio.to_thread(self._audit.record, actor, action, subject or "*", detail)
