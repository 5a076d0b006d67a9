"""Decides about requests with an idempotency key: which runs, which is refused, which gets the answer that is kept."""

from __future__ import annotations

import hashlib
from enum import Enum

from msgspec import Struct

from model_pod.protocols.exchange import HttpAnswer

OutcomeKey = tuple[str, str]
"""Tenant and the key that it chose."""

MAX_KEY_CHARACTERS = 255
# What a kept answer takes beside its texts and bytes, about.
_ENTRY_BYTES = 512
# Refusals of ours that tell no cost and yet do not say that nothing ran.
MAY_HAVE_RUN = frozenset({"inference_lost", "deadline_exceeded_running"})


class OutcomeBounds(Struct, frozen=True):
    """How much is kept.

    Attributes:
        count: most keys, those in progress included; the oldest that has ended goes of the tenant with most of them.
        byte_count: most bytes of answers; the oldest answer goes of the tenant with most bytes, and its key stays.
        age_s: how long a key is known after its request has ended.
    """

    count: int = 65_536
    byte_count: int = 64 * 2**20
    age_s: float = 600.0


class Begun(Enum):
    """What becomes of a request that comes with a key, unless it gets an answer that is kept."""

    NEW = "it runs; `finish` or `forget` must follow"
    IN_PROGRESS = "one with this key and payload is being answered"
    DIFFERS = "the key belongs to another payload"
    GONE = "it has run, and its answer was not kept"
    FULL = "every key that may be kept is in progress"


class _Ended(Struct):
    payload_sha256: bytes
    answer: HttpAnswer | None
    ended_s: float


class _OfTenant(Struct):
    """Keys of one tenant that have ended, the longest ended first.

    Attributes:
        kept: bytes of those of them that have an answer, in the same order.
    """

    ended: dict[OutcomeKey, _Ended]
    kept: dict[OutcomeKey, int]
    byte_count: int = 0


class Outcomes:
    """Keys in progress, and those that have ended with what was answered.

    No tenant pushes another's out that has fewer.

    Attributes:
        dropped_count: keys and answers that were let go before their age because of the other bounds.
    """

    def __init__(self, bounds: OutcomeBounds) -> None:
        self.dropped_count = 0
        self._bounds = bounds
        self._running: dict[OutcomeKey, bytes] = {}
        self._ended: dict[OutcomeKey, _Ended] = {}  # the longest ended first
        self._tenants: dict[str, _OfTenant] = {}  # those with a key that has ended
        self._byte_count = 0

    def __len__(self) -> int:
        return len(self._running) + len(self._ended)

    @property
    def byte_count(self) -> int:
        """Bytes that the answers take."""
        return self._byte_count

    def begin(self, key: OutcomeKey, payload_sha256: bytes, now_s: float) -> Begun | HttpAnswer:
        """Judge a request that is whole."""
        self._age_out(now_s)
        running = self._running.get(key)
        if running is not None:
            return Begun.IN_PROGRESS if running == payload_sha256 else Begun.DIFFERS
        if (ended := self._ended.get(key)) is not None:
            if ended.payload_sha256 != payload_sha256:
                return Begun.DIFFERS
            return ended.answer or Begun.GONE
        if len(self) >= self._bounds.count and not self._drop_oldest():
            return Begun.FULL
        self._running[key] = payload_sha256
        return Begun.NEW

    def finish(self, key: OutcomeKey, answer: HttpAnswer | None, now_s: float) -> None:
        """A request has run; None where its answer cannot be told again."""
        payload_sha256 = self._running.pop(key)
        tenant = self._tenants.setdefault(key[0], _OfTenant({}, {}))
        self._ended[key] = tenant.ended[key] = ended = _Ended(payload_sha256, None, now_s)
        if answer is None:
            return
        byte_count = _byte_count(answer)
        if byte_count > self._bounds.byte_count:
            self.dropped_count += 1
            return
        ended.answer = answer._replace(body=bytes(answer.body))  # a view would keep its whole batch's bytes
        tenant.kept[key] = byte_count
        tenant.byte_count += byte_count
        self._byte_count += byte_count
        self._shrink()

    def awaits(self, key: OutcomeKey) -> bool:
        """Return whether a request with this key is in progress."""
        return key in self._running

    def forget(self, key: OutcomeKey) -> None:
        """Nothing of a request in progress ran; the next one with its key is new. Forgetting twice is harmless."""
        self._running.pop(key, None)

    def _age_out(self, now_s: float) -> None:
        while self._ended:
            key = next(iter(self._ended))
            if now_s - self._ended[key].ended_s < self._bounds.age_s:
                return
            self._drop(key)

    def _drop_oldest(self) -> bool:
        if not self._ended:
            return False
        self.dropped_count += 1
        most = max(self._tenants.values(), key=lambda tenant: len(tenant.ended))
        self._drop(next(iter(most.ended)))
        return True

    def _drop(self, key: OutcomeKey) -> None:
        tenant = self._tenants[key[0]]
        del self._ended[key], tenant.ended[key]
        self._let_answer_go(tenant, key)
        if not tenant.ended:
            del self._tenants[key[0]]

    def _let_answer_go(self, tenant: _OfTenant, key: OutcomeKey) -> None:
        byte_count = tenant.kept.pop(key, 0)
        tenant.byte_count -= byte_count
        self._byte_count -= byte_count

    def _shrink(self) -> None:
        """Let answers go until the rest may stay; their keys are known on, so that none of them runs again."""
        while self._byte_count > self._bounds.byte_count:
            most = max(self._tenants.values(), key=lambda tenant: tenant.byte_count)
            key = next(iter(most.kept))
            self._let_answer_go(most, key)
            most.ended[key].answer = None
            self.dropped_count += 1


def payload_digest(target: str, content_type: bytes) -> hashlib._Hash:
    """Return the digest of what a request with a key asks; its body is to be added."""
    return hashlib.sha256(b"%b\n%b\n" % (target.encode(), content_type))


def is_kept(reason: str, has_run: bool) -> bool:
    """Return whether an outcome is kept: not when the request certainly has not run, for then it may yet.

    Args:
        reason: of the registry where it was refused, "" where the model answered.
        has_run: some of it was charged.
    """
    return not reason or has_run or reason in MAY_HAVE_RUN


def _byte_count(answer: HttpAnswer) -> int:
    texts = sum(len(name) + len(value) for name, value in answer.headers)
    return _ENTRY_BYTES + texts + len(answer.body)
