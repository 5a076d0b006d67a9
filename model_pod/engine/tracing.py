"""The door to OpenTelemetry: its SDK is set up only for a handler that uses it, and costs nothing otherwise."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from model_pod.wire.inference import Load
from model_pod.wire.rows import Row

if TYPE_CHECKING:
    from model_pod.engine.handler_spans import HandlerSpans

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
FLUSH_WITHIN_S = 1.0

_log = logging.getLogger(__name__)


class Tracing:
    """Spans that a handler makes; until ``start`` finds a reason there are none."""

    def __init__(self) -> None:
        self._spans: HandlerSpans | None = None
        self._ending: threading.Thread | None = None
        self._lock = threading.Lock()

    def start(self, load: Load) -> bool:
        """Set the SDK up if the loaded handler has imported OpenTelemetry and there is somebody to tell.

        Returns:
            Whether the handler's spans go anywhere, so that it needs to know whose children they are.
        """
        if "opentelemetry.trace" not in sys.modules or not any(os.environ.get(name) for name in ENDPOINTS):
            return False
        try:
            # Only now: these imports take a tenth of a second.
            from model_pod.engine.handler_spans import HandlerSpans

            self._spans = HandlerSpans(load)
        except Exception as error:
            # A missing package or an unusable OTEL_ variable costs the spans, and not the model.
            _log.warning("The handler's spans go nowhere: %s: %s", type(error).__name__, error)
            return False
        return True

    def around(
        self, rows: Sequence[Row], batch: str, data: list[dict[str, Any]]
    ) -> AbstractContextManager[list[dict[str, Any]]]:
        """Return a block in which the handler's spans are children of what they belong to, and ``data`` for it.

        Args:
            batch: the batch's span as a W3C value; "" when nobody records.
        """
        return nullcontext(data) if self._spans is None else self._spans.around(rows, batch, data)

    def end(self) -> None:
        """Send what is left, within ``FLUSH_WITHIN_S``: a receiver that is gone must not keep the process."""
        if self._spans is None:
            return
        with self._lock:
            if self._ending is None:
                self._ending = threading.Thread(target=self._spans.end, name="last-spans", daemon=True)
                self._ending.start()
        self._ending.join(FLUSH_WITHIN_S)
