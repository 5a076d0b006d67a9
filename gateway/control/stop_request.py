"""What tells a supervisor to stop: a signal, or the end of whoever started it."""

from __future__ import annotations

import asyncio
import os
import signal


class StopRequest:
    """Set by a signal, or by the end of whoever started us."""

    def __init__(self, lifeline_fd: int | None) -> None:
        self._asked = asyncio.Event()
        self.why = ""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._ask, "SIGTERM")
        # To who runs it by hand it means that the terminal is gone, to all others a rolling restart.
        self.is_ended_by_hangup = lifeline_fd is None and os.isatty(0)
        if self.is_ended_by_hangup:
            loop.add_signal_handler(signal.SIGHUP, self._ask, "SIGHUP")
        else:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as long as there is nothing to restart
        if lifeline_fd is None:
            loop.add_signal_handler(signal.SIGINT, self._ask, "SIGINT")
        else:
            # Ctrl-C is for whoever started us, who then says what to do.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            os.set_blocking(lifeline_fd, False)
            loop.add_reader(lifeline_fd, self._read_lifeline, lifeline_fd)

    def _ask(self, why: str) -> None:
        self.why = self.why or why
        self._asked.set()

    def _read_lifeline(self, descriptor: int) -> None:
        try:
            ended = not os.read(descriptor, 1024)
        except BlockingIOError:
            return
        if ended:
            asyncio.get_running_loop().remove_reader(descriptor)
            self._ask("the parent process is gone")

    async def wait(self) -> None:
        """Return once it is set."""
        await self._asked.wait()
