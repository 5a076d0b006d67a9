"""Asks the driver in a thread of its own: a driver that hangs holds up that thread, and what it said goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from telemetry.sidecar.events import say
from telemetry.sidecar.machine.gpus import GpuReading, GpuView
from telemetry.sidecar.machine.nvml import Nvml, has_driver, load

EVERY_S = 5.0
# A reading takes milliseconds, or seconds when the driver wakes a GPU that slept.
ANSWER_WITHIN_S = 15.0
AGAIN_AFTER_S = 60.0


class GpuWatch:
    """The GPUs of this machine.

    Args:
        has_driver: whether there is anything to ask.
        library: returns NVIDIA's binding.
        every_s: from one reading to the next.

    Attributes:
        failures: calls that failed for once, since the start.
    """

    def __init__(
        self,
        has_driver: Callable[[], bool] = has_driver,
        library: Callable[[], Any] = load,
        every_s: float = EVERY_S,
    ) -> None:
        self._has_driver = has_driver
        self._library = library
        self._every_s = every_s
        self._driver: Nvml | None = None
        self._open_at_s = 0.0
        self._view = GpuView()
        self._asked_s: float | None = None
        self._trouble = ""
        self._is_hanging_told = False
        self.failures = 0

    def start(self) -> None:
        """Ask from now on, until the process ends."""
        threading.Thread(target=self._ask_for_ever, name="gpu watch", daemon=True).start()

    def view(self, now_s: float) -> GpuView:
        """Return what is known; nothing of the GPUs while a question waits for its answer for too long."""
        asked_s = self._asked_s
        if asked_s is None or now_s - asked_s <= ANSWER_WITHIN_S:
            self._is_hanging_told = False
            return self._view
        if not self._is_hanging_told:
            say("", f"the GPU driver has not answered for {ANSWER_WITHIN_S:g} s; nothing is told of the GPUs")
        self._is_hanging_told = True
        return GpuView(is_answering=False)

    def ask(self, now_s: float) -> None:
        """Ask once, if there is a driver, and remember what it says."""
        if self._driver is None and (now_s < self._open_at_s or not self._has_driver()):
            return
        self._asked_s = now_s
        try:
            self._view = GpuView(is_answering=True, gpus=self._read())
            self._trouble = ""
        except Exception as error:  # a binding may raise anything, and old numbers must not be told for ever
            self._view = GpuView(is_answering=False)
            self._open_at_s = now_s + AGAIN_AFTER_S
            self._say_trouble(str(error) or type(error).__name__)
        finally:
            self._asked_s = None

    def _read(self) -> tuple[GpuReading, ...]:
        if self._driver is None:
            self._driver = Nvml(self._library())
        try:
            readings = self._driver.read()
            self.failures += sum(gpu.failed for gpu in readings)
            return readings
        except Exception:  # whatever it was: the next reading begins with a driver that is opened anew
            driver, self._driver = self._driver, None
            driver.close()
            raise

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            say("", f"the GPU driver cannot be asked ({trouble}); asked again each {AGAIN_AFTER_S:g} s")
        self._trouble = trouble

    def _ask_for_ever(self) -> None:
        while True:
            self.ask(time.monotonic())
            time.sleep(self._every_s)
