"""The oracle of a light pod: runs payloads, each once, writes what ran, and keeps outcomes by key."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from model_pod.wire.link import LINK_VERSION
from model_pod.wire.status import PodState, PodStatus
from tests.faults.ledgers import Execution, Ledger, Told
from tests.faults.oracle import answers
from tests.faults.oracle.answers import Behaviour

_PIECE = b'{"piece": "................................................................"}\n'


class Reply(Protocol):
    """Where the answer of one request goes; each way that the pod speaks has one."""

    def told(self, told: Told, *, is_replay: bool) -> None:
        """Answer with an execution."""
        ...

    def refuse(self, reason: str, request_id: str) -> None:
        """Answer with a refusal."""
        ...

    def begin(self) -> None:
        """Answer in pieces from now on."""
        ...

    def more(self, piece: bytes) -> None:
        """Send a piece."""
        ...

    def end(self, told: Told) -> None:
        """Send the last piece, which names the execution."""
        ...


class Oracle:
    """Runs payloads, each once, and remembers by key.

    Args:
        model, speaks_link: as it says in its status.
    """

    def __init__(self, name: str, ledger: Ledger, *, model: str = "oracle", speaks_link: bool = False) -> None:
        self.behaviour = Behaviour()
        self.requests = self.refused = 0
        self._name = name
        self._model = model
        self._ledger = ledger
        self._link = LINK_VERSION if speaks_link else 0
        self._seq = 0
        self._running = 0
        self._waiting: deque[Row] = deque()
        self._outcomes: dict[str, Row] = {}

    @property
    def rows(self) -> int:
        """What waits and what runs."""
        return len(self._waiting) + self._running

    @property
    def status(self) -> PodStatus:
        """What the supervisor's probe asks for."""
        return PodStatus(
            self._model, "1", PodState.READY, was_ready=True, pid=os.getpid(),
            queued_rows=len(self._waiting), running_rows=self._running, link=self._link,
        )  # fmt: skip

    def submit(self, row: Row) -> None:
        """Answer from memory, or run as soon as there is room."""
        self.requests += 1
        if self.behaviour.refuse:
            self.refused += 1
            row.refuse(self.behaviour.refuse)
        elif row.key and (known := self._outcomes.get(row.key)) is not None:
            self._answer_again(row, known)
        else:
            if row.key:
                self._outcomes[row.key] = row
            self._waiting.append(row)
            self._run_next()

    def _answer_again(self, row: Row, known: Row) -> None:
        if known.payload_sha256 != row.payload_sha256:
            row.refuse("idempotency_key_reused")
        elif known.told is None:
            row.refuse("idempotency_in_progress")
        elif row.is_wanted:
            row.to.told(known.told, is_replay=True)

    def _run_next(self) -> None:
        while self._waiting and self._running < self.behaviour.at_once:
            row = self._waiting.popleft()
            if row.is_wanted or row.key:
                self._start(row)

    def _start(self, row: Row) -> None:
        self._running += 1
        self._seq += 1
        told = Told(row.request_id, row.tenant, row.payload_sha256, self._name, os.getpid(), self._seq)
        self._note("start", told)
        if row.pieces:
            if row.is_wanted:
                row.to.begin()
            self._go_on(row, told, row.pieces)
        elif self.behaviour.delay_s:
            asyncio.get_running_loop().call_later(self.behaviour.delay_s, self._finish, row, told)
        else:
            self._finish(row, told)

    def _go_on(self, row: Row, told: Told, pieces_left: int) -> None:
        if pieces_left and row.is_wanted:
            row.to.more(_PIECE)
            asyncio.get_running_loop().call_later(self.behaviour.pause_s, self._go_on, row, told, pieces_left - 1)
        else:
            self._finish(row, told)

    def _finish(self, row: Row, told: Told) -> None:
        self._note("end", told)
        row.told = told
        self._running -= 1
        if row.is_wanted and row.pieces:
            row.to.end(told)
        elif row.is_wanted:
            row.to.told(told, is_replay=False)
        self._run_next()

    def _note(self, phase: str, told: Told) -> None:
        self._ledger.write(
            Execution(
                phase, told.pod, told.pid, told.pid, told.seq, told.request_id, told.payload_sha256, time.monotonic()
            )
        )


class Row:
    """One request on its way through the oracle.

    Attributes:
        to: where its answer goes while its caller is there.
        key: tenant and idempotency key; "" without one.
        pieces: in how many it is to be answered before the last; 0 as a whole.
        is_wanted: its caller is there.
        told: what came of it.
    """

    def __init__(self, fields: Mapping[str, str], payload: bytes, to: Reply) -> None:
        self.to = to
        self.request_id = fields.get("x-request-id", "")
        self.tenant = fields.get("penstock-tenant", "")
        key = fields.get("idempotency-key", "")
        self.key = f"{self.tenant}/{key}" if key else ""
        self.pieces = int(fields.get(answers.PIECES_HEADER, "0"))
        self.payload_sha256 = answers.sha256_of(payload)
        self.is_wanted = True
        self.told: Told | None = None

    def refuse(self, reason: str) -> None:
        """Answer with a refusal, if anybody is there."""
        if self.is_wanted:
            self.to.refuse(reason, self.request_id)
