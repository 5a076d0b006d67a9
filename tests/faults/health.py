"""Asks the gateway how it is, ten times a second, as whoever sends it traffic does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.faults.checker import Health

_EVERY_S = 0.1
# Nobody who asks for health waits for ever. Whoever asked a worker that hangs is cut off when that is killed; so this
# is longer than the supervisor has patience with it.
_PATIENCE_S = 30.0


class HealthWatch:
    """Samples, each by connections of its own.

    Attributes:
        samples: so far; where a connection ended without an answer there is none, since whoever died had it.
    """

    def __init__(self, url: str) -> None:
        self.samples: list[Health] = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        # One connection could stay with one worker for ever; none is kept.
        limits = httpx.Limits(max_keepalive_connections=0)
        with httpx.Client(base_url=self._url, trust_env=False, timeout=_PATIENCE_S, limits=limits) as client:
            while not self._stop.wait(_EVERY_S):
                at_s = time.monotonic()
                try:
                    is_live, is_ready = _says(client, "/livez"), _says(client, "/readyz")
                except httpx.TimeoutException:
                    self.samples.append(Health(at_s, is_ready=False, is_live=False, took_s=time.monotonic() - at_s))
                except httpx.TransportError:
                    continue
                else:
                    took_s = time.monotonic() - at_s
                    self.samples.append(Health(at_s, is_ready=is_ready, is_live=is_live, took_s=took_s))


def _says(client: httpx.Client, path: str) -> bool:
    return client.get(path).status_code == 200


@contextmanager
def watched(url: str) -> Iterator[HealthWatch]:
    """Watch the health of the gateway at an address."""
    watch = HealthWatch(url)
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()
