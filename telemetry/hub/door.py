"""Lets people and programs in: a token or the link of the start begins a session, and guessing is slowed down."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from telemetry.hub.gate import Caller, Gate, Refused
from telemetry.hub.guesses import Guesses
from telemetry.hub.sessions import Invitation, Sessions

_SECRET_BYTES = 32


class Door:
    """Who has come in through one gate.

    Args:
        clock: seconds that only go forward.
        slows_guesses: whoever guessed too often waits, and with it all who share its address. Not so where programs
            send what they do not send again: a token is too long to be guessed, and one program with an old token
            must not keep the others out.

    Attributes:
        code: what the link of the start holds; it is good for one login.
    """

    def __init__(self, gate: Gate, clock: Callable[[], float] = time.monotonic, *, slows_guesses: bool = True) -> None:
        self.gate = gate
        self.code = secrets.token_urlsafe(_SECRET_BYTES)
        self._clock = clock
        self._slows_guesses = slows_guesses
        self._sessions = Sessions()
        self._guesses = Guesses()
        self._invitation = Invitation(self.code, clock())

    def admit(self, caller: Caller, address: str) -> None:
        """Let the caller pass.

        Raises:
            Refused: with the status to answer: 401 for whoever is not known, 429 for whoever guessed too often.
        """
        self.gate.check_place(caller)
        if self.gate.is_open_to(caller) or self.has_session(caller):
            return
        for shown in caller.bearers[:1]:
            if self.knows(shown, address):
                return
        raise Refused(401, "Log in, or send the token as `Authorization: Bearer TOKEN`.")

    def has_session(self, caller: Caller) -> bool:
        """Whether a browser has logged in."""
        now_s = self._clock()
        return any(self._sessions.has(value, now_s) for value in caller.cookies)

    def knows(self, token: str, address: str) -> bool:
        """Whether this is the token.

        Raises:
            Refused: this address, or all of them together, guessed too often to be told.
        """
        return self._is_right(self.gate.knows, token, address)

    def is_invited(self, code: str, address: str) -> bool:
        """Whether this is the code of the start's link, which then no longer is one.

        Raises:
            Refused: this address, or all of them together, guessed too often to be told.
        """
        return self._is_right(lambda shown: self._invitation.accept(shown, self._clock()), code, address)

    def begin_session(self) -> str:
        """Return what the browser that has logged in shows from now on."""
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        self._sessions.begin(secret, self._clock())
        return secret

    def end_sessions(self, caller: Caller) -> None:
        """Log a browser out."""
        for value in caller.cookies:
            self._sessions.end(value)

    def _is_right(self, is_right: Callable[[str], bool], shown: str, address: str) -> bool:
        now_s = self._clock()
        wait = self._guesses.wait(address, now_s)
        if wait.seconds:
            raise Refused(429, f"Too many wrong tokens came from there; wait {wait.seconds} s.")
        if is_right(shown):
            return True
        if self._slows_guesses:
            self._guesses.wrong(address, now_s)
        return False
