"""Gathering: what a worker settles, put together into blocks of decision records."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter, le
from typing import Any, Protocol

from gateway.decide.credentials import KeyShown
from gateway.decide.decision import Decision
from gateway.decide.facts import RequestFacts
from gateway.decide.route import match_path
from gateway.decisions.records import ID_BYTES, Asked, Block, Ended

# Several times what a worker settles in the second between two blocks; what comes beyond is lost, and counted.
MAX_ROWS = 32_768
# No name in the files is longer, so a longer one is as unknown when it is cut.
_NAME_CHARACTERS = 64
# Remembered from block to block; beyond it all are forgotten, and built anew.
MAX_KINDS = 16_384
# Nobody asks for more in paths and headers than this, except to fill memory: it is not remembered.
_ASKED_CHARACTERS = 256
# Those of ``records.Row``, and the request's id.
_CELLS = 11


class Cost(Protocol):
    """What a settled request used."""

    @property
    def device_us(self) -> int:
        """Microseconds of devices; negative when no pod said."""
        ...

    @property
    def request_bytes(self) -> int:
        """Of the body."""
        ...

    @property
    def response_bytes(self) -> int:
        """Of the body."""
        ...

    @property
    def tokens(self) -> int:
        """As the model's handler counted them."""
        ...


class Alike:
    """Requests that ask alike and end alike, and where that is in the lists of the block it was last seen in.

    It stays of use however many blocks are taken.
    """

    __slots__ = ("asked", "asked_place", "block", "ended", "ended_place")

    def __init__(self, asked: Asked, ended: Ended) -> None:
        self.asked = asked
        self.ended = ended
        self.block = self.asked_place = self.ended_place = -1


class Gathering:
    """One worker's records since its last block.

    Attributes:
        lost: records of which the next block says that they were lost.
        left_out: those that found no room here, since the start.
    """

    def __init__(self) -> None:
        self.lost = 0
        self.left_out = 0
        self._kinds: dict[tuple[Any, ...], Alike] = {}
        self._ends: dict[Ended, Ended] = {}  # one of each, which is found by itself faster than by an equal one
        self._block = -1
        self._begin()

    def _begin(self) -> None:
        self._block += 1
        self._unidentified: dict[str, int] = {}
        self._asked: dict[Asked, int] = {}
        self._ended: dict[Ended, int] = {}
        self._cells: list[Any] = []

    @property
    def row_count(self) -> int:
        """Requests since the last block."""
        return len(self._cells) // _CELLS

    def add(
        self,
        facts: RequestFacts,
        decision: Decision,
        request_id: str,
        duration_s: float,
        status: int,
        reason: str,
        cost: Cost,
    ) -> None:
        """Keep one settled request; of one whose caller is not known, only why it was refused."""
        if not decision.tenant:
            self.count_unidentified(reason)
            return
        self.add_alike(
            self.alike(facts, decision, status, reason),
            facts.wall_s,
            facts.content_length,
            cost.device_us,
            cost.request_bytes,
            cost.response_bytes,
            cost.tokens,
            duration_s,
            tuple([room.left for room in decision.rooms]),
            request_id,
        )

    def add_alike(
        self,
        alike: Alike,
        wall_s: float,
        content_length: int,
        device_us: int,
        request_bytes: int,
        response_bytes: int,
        tokens: int,
        duration_s: float,
        lefts: tuple[int, ...],
        request_id: str,
    ) -> None:
        """Keep one settled request of those that are alike; ``lefts`` is what is left of each limit."""
        if len(self._cells) >= MAX_ROWS * _CELLS:
            self.lost += 1
            self.left_out += 1
            return
        if alike.block != self._block:
            self._enter(alike)
        self._cells += (
            int(wall_s * 1e6),
            alike.asked_place,
            alike.ended_place,
            content_length,
            device_us,
            request_bytes,
            response_bytes,
            tokens,
            int(duration_s * 1e6),
            lefts,
            request_id,
        )

    def alike(self, facts: RequestFacts, decision: Decision, status: int, reason: str) -> Alike:
        """Return what a settled request shares with others."""
        refusal, rooms = decision.refusal, decision.rooms
        # Of an admitted request, the policy's text says which limits are told of, and what it asks says its arm.
        told: object = decision.policy
        if refusal is not None:
            told = (refusal.reason, refusal.limits, tuple([room.limit for room in rooms]))
        # This is done for every request: what many share is found by a key that is cheap, and built once.
        key = (
            facts.path,
            decision.tenant,
            decision.key_id,
            decision.version,
            told,
            status,
            reason,
            decision.generation,
            facts.method,
            facts.pinned_version,
            facts.timeout_ms,
            () if type(facts.credential) is KeyShown else decision.scopes,
            decision.observed,
            decision.warned,
            decision.demoted_by,
        )
        return self._kinds.get(key) or self._kind(key, facts, decision, status, reason)

    def count_unidentified(self, reason: str, count: int = 1) -> None:
        """Count requests that were refused before anybody knew whose they were."""
        self._unidentified[reason] = self._unidentified.get(reason, 0) + count

    def _kind(self, key: tuple[Any, ...], facts: RequestFacts, decision: Decision, status: int, reason: str) -> Alike:
        ended = _ended(decision, status, reason)
        kind = Alike(_asked(facts, decision), self._ends.get(ended, ended))
        if len(facts.path or "") + len(facts.pinned_version) + len(facts.timeout_ms) <= _ASKED_CHARACTERS:
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.clear()
                self._ends.clear()
            self._kinds[key] = kind
            self._ends[kind.ended] = kind.ended
        return kind

    def _enter(self, kind: Alike) -> None:
        """Give a kind its places in the present block, those of an equal one where there is one."""
        kind.block = self._block
        kind.asked_place = self._asked.setdefault(kind.asked, len(self._asked))
        kind.ended_place = self._ended.setdefault(kind.ended, len(self._ended))

    def take(self, wall_s: float) -> tuple[Block, bytes] | None:
        """Return what was gathered until now, and the requests' ids, and begin anew; None when there is nothing."""
        if not (self._cells or self._unidentified or self.lost):
            return None
        moments_us, *columns, left, ids = _columns(self._cells)
        since_us = moments_us[0] if moments_us else int(wall_s * 1e6)
        block = Block(
            since_us=since_us,
            lost=self.lost,
            unidentified=self._unidentified,
            asked=tuple(self._asked),
            ended=tuple(self._ended),
            columns=(tuple([moment - since_us for moment in moments_us]), *columns),
            left=left,
        )
        self.lost = 0
        self._begin()
        return block, _id_bytes(ids)


def _asked(facts: RequestFacts, decision: Decision) -> Asked:
    target = match_path(facts.path) if facts.path is not None else None
    return Asked(
        facts.method,
        target.api.value if target else "",
        target.model[:_NAME_CHARACTERS] if target else "",
        target.version[:_NAME_CHARACTERS] if target else "",
        facts.pinned_version[:_NAME_CHARACTERS],
        facts.timeout_ms[:_NAME_CHARACTERS],
        decision.tenant,
        decision.key_id,
        () if type(facts.credential) is KeyShown else decision.scopes,
    )


def _ended(decision: Decision, status: int, reason: str) -> Ended:
    refusal = decision.refusal
    return Ended(
        decision.generation,
        "" if refusal is None else refusal.reason,
        status,
        reason,
        decision.model,
        decision.version,
        decision.arm.value,
        () if refusal is None else refusal.limits,
        tuple([room.limit for room in decision.rooms]),
        decision.observed,
        decision.warned,
        decision.demoted_by,
    )


def _columns(cells: list[Any]) -> list[tuple[Any, ...]]:
    """Return rows that lie one after the other as columns, by their moments."""
    moments_us = cells[::_CELLS]
    columns = [cells[place::_CELLS] for place in range(_CELLS)]
    if all(map(le, moments_us, moments_us[1:])):  # requests may settle in any order; itemgetter takes two at least
        return [tuple(column) for column in columns]
    in_order = itemgetter(*sorted(range(len(moments_us)), key=moments_us.__getitem__))
    return [in_order(column) for column in columns]


def _id_bytes(ids: Sequence[str]) -> bytes:
    """Ids are ours, 32 digits each; should one not be, none can be found by them."""
    try:
        found = bytes.fromhex("".join(ids))
    except ValueError:
        found = b""
    return found if len(found) == len(ids) * ID_BYTES else bytes(len(ids) * ID_BYTES)
