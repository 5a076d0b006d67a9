"""KeptAnswer: passes the answer of a request with an idempotency key on, and keeps it for the next one with it."""

from __future__ import annotations

import time
from collections.abc import Callable

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.answers import cost, reason_in
from model_pod.server.outcomes import Begun, OutcomeKey, Outcomes, is_kept
from model_pod.server.reply import NOTHING_USED, Usage
from model_pod.server.responder import Responder
from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused
from telemetry.conventions import IDEMPOTENCY_REPLAYED, USAGE

_REFUSALS = {
    Begun.IN_PROGRESS: ("idempotency_in_progress", "a request with this idempotency key is being answered; ask again"),
    Begun.DIFFERS: (
        "idempotency_key_reused",
        "this idempotency key was used with another path, type or body; take a new key",
    ),
    Begun.GONE: (
        "idempotency_outcome_gone",
        "a request with this idempotency key has run; its answer was streamed or too large, and was not kept",
    ),
    Begun.FULL: ("queue_full", "the pod keeps as many idempotency keys as it may; try again later"),
}


class KeptAnswer:
    """A ``Responder`` before another one."""

    __slots__ = ("_key", "_outcomes", "_to")

    def __init__(self, outcomes: Outcomes, key: OutcomeKey, to: Responder) -> None:
        self._outcomes = outcomes
        self._key = key
        self._to = to

    def __call__(self, answer: HttpAnswer, usage: Usage = NOTHING_USED) -> None:
        if is_kept(reason_in(answer), usage.batch_rows > 0):
            self._outcomes.finish(self._key, answer, time.monotonic())
        else:
            self._outcomes.forget(self._key)
        self._to(answer, usage)

    def begin(self, answer: HttpAnswer) -> None:
        # Known as run from its first byte on: nobody who asks again need wait for an answer that is not kept.
        self._outcomes.finish(self._key, None, time.monotonic())
        self._to.begin(answer)

    def more(self, piece: Buffer) -> None:
        self._to.more(piece)

    def end(self, usage: Usage = NOTHING_USED) -> None:
        self._to.end(usage)

    def cut(self, reason: str, usage: Usage = NOTHING_USED) -> None:
        self._to.cut(reason, usage)

    @property
    def unread_bytes(self) -> int:
        return self._to.unread_bytes

    def watch(self, on_read: Callable[[], None]) -> None:
        self._to.watch(on_read)


def replayed(kept: HttpAnswer) -> HttpAnswer:
    """Return a kept answer as it is told again; it says that it costs nothing, since it was paid for once."""
    return kept._replace(headers=(*kept.headers, (IDEMPOTENCY_REPLAYED, "true"), (USAGE, cost(NOTHING_USED))))


def refusal_of(begun: Begun) -> Refused:
    """Return why a request with a key gets no answer; not for a new one."""
    return Refused(*_REFUSALS[begun])
