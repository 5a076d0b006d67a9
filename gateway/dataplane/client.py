"""Client: what a request's life needs of the connection that it came by, whatever protocol that speaks."""

from __future__ import annotations

from typing import Protocol

from gateway.decide.decision import Refusal

Piece = bytes | memoryview


class Client(Protocol):
    """The connection that a request came by.

    ``fields`` are whole header lines, each with its CRLF, without those of framing, connection and date.
    """

    def answer(self, status: int, phrase: bytes, fields: bytes, body: Piece) -> None:
        """Answer as a whole: the request is over, and the next one may come."""
        ...

    def begin(self, status: int, phrase: bytes, fields: bytes, content_length: int) -> None:
        """Answer with this head; ``data`` and ``end`` follow.

        Args:
            content_length: of the body; ``NOT_TOLD`` when it comes as it is made.
        """
        ...

    def data(self, piece: Piece) -> None:
        """Send the next bytes of the answer."""
        ...

    def end(self) -> None:
        """The answer is whole: the request is over."""
        ...

    def cut(self) -> None:
        """The answer cannot be made whole: end it so that the caller can tell."""
        ...

    def go_on(self) -> None:
        """Tell a caller that waits with its body to send it."""
        ...

    def hold(self, held: bool) -> None:
        """Stop (or go on) reading the request's body."""
        ...

    def due(self, deadline_s: float) -> None:
        """The request's deadline is known; ``Forward.deadline_passed`` is called when it passes."""
        ...


class UsualClient(Client, Protocol):
    """A connection that may say a usual request in one go; see ``gateway.dataplane.express``."""

    def answer_usual(self, fields: tuple[bytes, ...], body: Piece, now_s: float) -> None:
        """Do what ``answer`` does with 200; the fields are in pieces."""
        ...

    def go_on_as(self, was: object, forward: Request) -> None:
        """From now on the request's life is that one's, if it was the first one's until now."""
        ...


class Request(Protocol):
    """The life of a request, as its connection tells it what happens."""

    @property
    def body_limit_bytes(self) -> int:
        """Largest body this request may have."""
        ...

    def on_body(self, piece: Piece) -> None: ...
    def on_body_end(self) -> None: ...
    def hold_answer(self, held: bool) -> None:
        """The caller reads slowly: stop (or go on) reading the pod's answer."""
        ...

    def client_gone(self) -> None:
        """Nobody waits any more."""
        ...

    def deadline_passed(self) -> None:
        """The caller's time is over."""
        ...

    def give_up(self) -> None:
        """The worker leaves now."""
        ...

    def refuse(self, refusal: Refusal) -> None:
        """End the request with a refusal, whatever it was waiting for."""
        ...
