"""Responder: where the answer of one request goes, whole or as it is made; each edge of the pod has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.reply import NOTHING_USED, Usage
from model_pod.wire.frames import Buffer


class Responder(Protocol):
    """Takes one answer. After a whole answer, ``end`` or ``cut`` nothing more is given."""

    def __call__(self, answer: HttpAnswer, usage: Usage = NOTHING_USED) -> None:
        """Answer as a whole; the edge writes what it cost in its own way."""
        ...

    def begin(self, answer: HttpAnswer) -> None:
        """Answer with this head and this first part of a body; ``more`` and ``end`` follow."""
        ...

    def more(self, piece: Buffer) -> None:
        """Send the next part of the body; ``unread_bytes`` says how much the reader has yet to take."""
        ...

    def end(self, usage: Usage = NOTHING_USED) -> None:
        """The body is whole; where the edge can still tell what it cost, it does."""
        ...

    def cut(self, reason: str, usage: Usage = NOTHING_USED) -> None:
        """The body cannot be made whole: end so that the reader can tell.

        Args:
            usage: what it cost; ``NOTHING_USED`` where that is not known, for it has run.
        """
        ...

    @property
    def unread_bytes(self) -> int:
        """Bytes given to ``begin`` and ``more`` that the reader has not taken yet."""
        ...

    def watch(self, on_read: Callable[[], None]) -> None:
        """Call ``on_read`` from now on, not from within ``begin`` or ``more``, when the reader has taken some of it.

        It may be left out while fewer than ``wire.link.CREDIT_BYTES`` are unread: nothing waits for the last of them.
        """
        ...
