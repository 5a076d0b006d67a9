"""Gathering: what a worker settles, put together into blocks of decision records."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Protocol

from gateway.decide.credentials import TokenShown
from gateway.decide.decision import Decision
from gateway.decide.facts import RequestFacts
from gateway.decide.route import match_path
from gateway.decisions.records import ID_BYTES, Asked, Block, Ended

# Several times what a worker settles in the second between two blocks; what comes beyond is lost, and counted.
MAX_ROWS = 32_768
# No name in the files is longer, so a longer one is as unknown when it is cut.
_NAME_CHARACTERS = 64
_COLUMNS = 9
_MOMENT = itemgetter(0)


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


class Gathering:
    """One worker's records since its last block."""

    def __init__(self) -> None:
        self.lost = 0
        self._begin()

    def _begin(self) -> None:
        self._unidentified: dict[str, int] = {}
        self._asked_places: dict[tuple[Any, ...], int] = {}
        self._asked: list[Asked] = []
        self._ended_places: dict[tuple[Any, ...], int] = {}
        self._ended: dict[Ended, int] = {}
        self._rows: list[tuple[Any, ...]] = []

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
        if len(self._rows) >= MAX_ROWS:
            self.lost += 1
            return
        # This is done for every request; what many share is found by a key that is cheap, and built once.
        credential = facts.credential
        scopes = credential.scopes if type(credential) is TokenShown else ()
        asked_key = (
            facts.path,
            decision.tenant,
            decision.key_id,
            facts.method,
            facts.pinned_version,
            facts.timeout_ms,
            scopes,
        )
        asked = self._asked_places.get(asked_key)
        if asked is None:
            asked = self._ask(asked_key)
        refusal = decision.refusal
        # Of an admitted request, the policy's text says which limits are told of, and what it asks says its arm.
        told: object = decision.policy
        if refusal is not None:
            told = (refusal.reason, refusal.limits, tuple([room.limit for room in decision.rooms]))
        ended_key = (
            asked,
            decision.version,
            told,
            status,
            reason,
            decision.generation,
            decision.observed,
            decision.warned,
            decision.demoted_by,
        )
        ended = self._ended_places.get(ended_key)
        if ended is None:
            ended = self._end(ended_key, decision, status, reason)
        self._rows.append(
            (
                int(facts.wall_s * 1e6),
                asked,
                ended,
                facts.content_length,
                cost.device_us,
                cost.request_bytes,
                cost.response_bytes,
                cost.tokens,
                int(duration_s * 1e6),
                tuple([room.left for room in decision.rooms]),
                request_id,
            )
        )

    def count_unidentified(self, reason: str) -> None:
        """Count a request that was refused before anybody knew whose it was."""
        self._unidentified[reason] = self._unidentified.get(reason, 0) + 1

    def _ask(self, key: tuple[Any, ...]) -> int:
        path, tenant, credential_id, method, pinned_version, timeout_ms, scopes = key
        target = match_path(path) if path is not None else None
        asked = Asked(
            method,
            target.api.value if target else "",
            target.model[:_NAME_CHARACTERS] if target else "",
            target.version[:_NAME_CHARACTERS] if target else "",
            pinned_version[:_NAME_CHARACTERS],
            timeout_ms[:_NAME_CHARACTERS],
            tenant,
            credential_id,
            scopes,
        )
        place = self._asked_places[key] = len(self._asked)
        self._asked.append(asked)
        return place

    def _end(self, key: tuple[Any, ...], decision: Decision, status: int, reason: str) -> int:
        refusal = decision.refusal
        ended = Ended(
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
        place = self._ended_places[key] = self._ended.setdefault(ended, len(self._ended))
        return place

    def take(self, wall_s: float) -> tuple[Block, bytes] | None:
        """Return what was gathered until now, and the requests' ids, and begin anew; None when there is nothing."""
        if not (self._rows or self._unidentified or self.lost):
            return None
        rows = sorted(self._rows, key=_MOMENT)
        moments_us, *columns, left, ids = zip(*rows, strict=True) if rows else ((),) * (_COLUMNS + 2)
        since_us = moments_us[0] if rows else int(wall_s * 1e6)
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


def _id_bytes(ids: Sequence[str]) -> bytes:
    """Ids are ours, 32 digits each; should one not be, none can be found by them."""
    try:
        found = bytes.fromhex("".join(ids))
    except ValueError:
        found = b""
    return found if len(found) == len(ids) * ID_BYTES else bytes(len(ids) * ID_BYTES)
