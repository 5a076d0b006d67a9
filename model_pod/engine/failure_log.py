"""What the pod's log hears of rows that failed: each kind of failure once a second, with a count of the rest."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ts.utils.util import PredictionException

from model_pod.engine.failures import describe, traceback_of
from telemetry.logs.line import Facts, Level
from telemetry.logs.log import Log
from telemetry.logs.raised import raised

SAY_EVERY_S = 1.0
FAILED = "handler.failed"
MAX_KINDS = 256  # a handler may raise at as many places as it likes; the kinds said longest ago are forgotten first


@dataclass(slots=True)
class _Said:
    at_s: float
    unsaid: int = 0


class Throttle:
    """Lets each kind of event be said once in ``SAY_EVERY_S``, and counts those that were not."""

    def __init__(self) -> None:
        self._said: dict[str, _Said] = {}

    def admit(self, kind: str, now_s: float) -> int | None:
        """Return how many of its kind went unsaid before this one, or None when this one shall too."""
        said = self._said.get(kind)
        if said and now_s - said.at_s < SAY_EVERY_S:
            said.unsaid += 1
            return None
        self._said.pop(kind, None)
        if len(self._said) == MAX_KINDS:
            del self._said[next(iter(self._said))]
        self._said[kind] = _Said(now_s)
        return said.unsaid if said else 0


class FailureLog:
    """Writes what a handler raised to the pod's log."""

    def __init__(self) -> None:
        self._throttle = Throttle()

    def note(self, error: BaseException, row_count: int) -> None:
        """Say where a culprit failed; in one line a handler's own refusal, or of a batch that is run in parts next."""
        is_refusal = isinstance(error, PredictionException)
        if is_refusal and row_count > 1:
            return  # what the handler means to refuse is heard of row by row
        kind = "refusal" if is_refusal else f"{type(error).__name__} {place_of(error)} {row_count > 1}"
        unsaid = self._throttle.admit(kind, time.monotonic())
        if unsaid is not None:
            FAILURES.tell(error, row_count, unsaid)


def place_of(error: BaseException) -> str:
    """Return ``FILE:LINE`` of where an error was raised; "" for one that was not."""
    where = error.__traceback__
    if where is None:
        return ""
    while where.tb_next:
        where = where.tb_next
    return f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"


class Failures:
    """Where rows that failed are told, and how much.

    Attributes:
        log: by itself, so that whoever reads knows these lines from what a handler prints.
        has_messages: the texts of exceptions too. A handler makes them, perhaps of what a request held.
    """

    def __init__(self) -> None:
        self.log = Log()
        self.has_messages = False

    def begin(self) -> None:
        """Tell them as records, whatever others are told as."""
        self.log.begin(Facts(process="pod", role="model"), {}, usual="json", heeds=False)

    def tell(self, error: BaseException, row_count: int, unsaid: int) -> None:
        """Tell one."""
        more = f" ({unsaid} more like it before)" if unsaid else ""
        self.log.show("", f"{self._told(error, row_count)}{more}", Level.WARNING, FAILED)

    def _told(self, error: BaseException, row_count: int) -> str:
        what = describe(error) if self.has_messages else type(error).__name__
        if row_count > 1:
            return f"the handler failed on {row_count} rows, which are run in parts now: {what}"
        if isinstance(error, PredictionException):
            return f"the handler refused 1 row: {what}"
        where = traceback_of(error).rstrip() if self.has_messages else raised(error)
        return f"the handler failed on 1 row: {where}"


FAILURES = Failures()
"""Those of this process."""
