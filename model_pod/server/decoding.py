"""Decodes large bodies in a thread, one at a time and in order, so that the loop goes on with the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from model_pod.server.dispatch import Dispatcher

Decoded = TypeVar("Decoded")


class Decoding:
    """Bodies that are being decoded; until then they are work for a drain and hold bytes of the queue."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._thread = ThreadPoolExecutor(1, "decoding")

    def start(
        self, byte_count: int, decode: Callable[[], Decoded], on_decoded: Callable[[asyncio.Future[Decoded]], None]
    ) -> Callable[[], None]:
        """Decode a body; return what to call when its caller leaves.

        Args:
            decode: called in the thread.
            on_decoded: called in the loop with what came of it, unless its caller has left.

        Raises:
            Refused: ``queue_full``.
        """
        self._dispatcher.queue.reserve(byte_count)
        self._dispatcher.expect()
        is_wanted = True
        task = self._thread.submit(decode)

        def on_done(done: asyncio.Future[Decoded]) -> None:
            self._dispatcher.queue.release(byte_count)
            try:
                if is_wanted:
                    on_decoded(done)
                elif not done.cancelled():
                    done.exception()  # nobody is left to hear it
            finally:
                self._dispatcher.arrived()

        def cancel() -> None:
            nonlocal is_wanted
            is_wanted = False
            task.cancel()  # one that runs already holds its bytes to its end

        asyncio.wrap_future(task).add_done_callback(on_done)
        return cancel
