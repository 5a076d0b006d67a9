"""The ledger a load client keeps on disk, and the judge that reads it afterwards.

A line is written before an attempt is sent and another after it ended, so a client that is killed leaves behind what
it had asked for. The judge joins the ledger with what the model says it executed.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from tests.fakes.records import Outcome, Record

_REASON = b"penstock-reason"
_REQUEST_ID = b"x-request-id"


class Sent(Struct, frozen=True, tag="sent"):
    """An attempt, written before its first byte.

    Attributes:
        at_s: monotonic seconds; one clock for all processes of the machine.
        request_sha256: of the bytes sent; "" when there was no connection to send on.
    """

    client: str
    index: int
    at_s: float
    request_sha256: str = ""


class Ended(Struct, frozen=True, tag="ended"):
    """What came of the attempt.

    Attributes:
        is_right: the answer was the one this request asks for.
        is_followed: bytes followed the whole answer unasked.
        request_id: ``x-request-id`` of the answer, "" without one.
        reason: ``penstock-reason`` of the answer, "" without one.
    """

    client: str
    index: int
    at_s: float
    outcome: Outcome
    status: int
    is_right: bool
    is_followed: bool = False
    request_id: str = ""
    reason: str = ""


Entry = Sent | Ended
_DECODER: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class Ledger:
    """Appends entries to a file; each one is with the kernel before the call returns, so kill -9 loses none.

    It is a ``Watch`` of the load client, which must keep the response's headers.
    """

    def __init__(self, path: Path, client: str) -> None:
        self._client = client
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def sending(self, index: int, request: bytes) -> None:
        """Write down an attempt."""
        digest = hashlib.sha256(request).hexdigest() if request else ""
        self._append(Sent(self._client, index, time.monotonic(), digest))

    def settled(self, record: Record) -> None:
        """Write down how an attempt ended."""
        self._append(
            Ended(
                self._client,
                record.index,
                record.ended_s,
                record.outcome,
                record.status,
                record.is_right,
                record.is_followed,
                record.headers.get(_REQUEST_ID, b"").decode("latin-1"),
                record.headers.get(_REASON, b"").decode("latin-1"),
            )
        )

    def _append(self, entry: Entry) -> None:
        os.write(self._file, msgspec.json.encode(entry) + b"\n")


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries; a last line without its end was being written when its client was killed, and is left out."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield _DECODER.decode(line)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ledger proves; every field but the first two must be empty or zero.

    Attributes:
        attempts: attempts written down.
        unfinished: attempts without an end; right only for a client that was itself killed.
        wrong: whole answers below 400 that are not what was asked for.
        answered_twice: attempts with two ends, or with bytes after their whole answer.
        shared_ids: request ids that more than one answer carries.
        without_reason: refusals that name no reason of the registry.
        executed_too_often: request ids that the model ran more often than allowed.
    """

    attempts: int
    unfinished: int
    wrong: tuple[Ended, ...]
    answered_twice: tuple[tuple[str, int], ...]
    shared_ids: tuple[str, ...]
    without_reason: tuple[Ended, ...]
    executed_too_often: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was answered wrongly, twice, without a reason, or run too often."""
        return not (
            self.wrong or self.answered_twice or self.shared_ids or self.without_reason or self.executed_too_often
        )


def judge(
    entries: Iterable[Entry], *, reasons: Collection[str], executed: Iterable[str] = (), runs_allowed: int = 1
) -> Verdict:
    """Join what was sent, what came back and what was run.

    Args:
        reasons: the closed registry's names.
        executed: the request id of each row that the model began to run, as often as it did.
        runs_allowed: 1 where a request may not be retried, else 1 and the retries allowed.
    """
    entries = tuple(entries)
    sent = {(entry.client, entry.index) for entry in entries if isinstance(entry, Sent)}
    ended = [entry for entry in entries if isinstance(entry, Ended)]
    whole = [entry for entry in ended if entry.outcome is Outcome.WHOLE]
    ends = Counter((entry.client, entry.index) for entry in ended)
    ids = Counter(entry.request_id for entry in whole if entry.request_id)
    twice = {attempt for attempt, count in ends.items() if count > 1}
    twice |= {(entry.client, entry.index) for entry in ended if entry.is_followed}
    return Verdict(
        attempts=len(sent),
        unfinished=len(sent - ends.keys()),
        wrong=tuple(entry for entry in whole if entry.status < 400 and not entry.is_right),
        answered_twice=tuple(sorted(twice)),
        shared_ids=_more_than(ids, 1),
        without_reason=tuple(entry for entry in whole if entry.status >= 400 and entry.reason not in reasons),
        executed_too_often=_more_than(Counter(executed), runs_allowed),
    )


def _more_than(counts: Counter[str], allowed: int) -> tuple[str, ...]:
    return tuple(sorted(name for name, count in counts.items() if count > allowed))
