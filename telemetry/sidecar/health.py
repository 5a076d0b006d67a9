"""What the sidecar tells of itself: what became of all that it was told, and whether spans reach their receiver."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from msgspec import Struct

MARKS = 1024
_MARK_EVERY_S = 1.0


class Lost(Struct, frozen=True):
    """Something that was not counted or not told, and why."""

    what: str
    why: str
    count: int


class SpansHealth(Struct, frozen=True):
    """Spans on their way to their receiver: ``came = sent + lost + in_memory + on_disk``, at any moment.

    Attributes:
        came: that were ever to be exported, by this process and those before it with the same folder.
        lost: by why.
        most_bytes: that may wait on disk; 0 where there is no folder.
        waited_s: about how long the oldest of what waits has waited, as far as this process knows.
        receiver: where they go.
        taken_s: when the receiver took some last, in seconds since the epoch; 0 where it never has.
        trouble: why it takes none now; "" when it does.
        last_trouble, last_trouble_s: the latest trouble, and when it was met last; "" and 0 without one.
        disk_trouble: why the disk keeps nothing now; "" when it does.
    """

    came: int
    sent: int
    lost: dict[str, int]
    in_memory: int
    on_disk: int
    waiting_bytes: int
    most_bytes: int
    waited_s: float
    receiver: str
    taken_s: float
    trouble: str
    last_trouble: str
    last_trouble_s: float
    disk_trouble: str
    disk_failures: int


class Health(Struct, frozen=True):
    """What ``GET /telemetry`` answers.

    Attributes:
        at_s, started_s: now, and when this process began, in seconds since the epoch.
        records: what was told, by what it was and what became of it: why it was kept, or ``left_out``.
        undecided: of that, what waits for what becomes of its trace.
        redacted: attributes and messages that were taken away because nobody allowed them.
        spans: None where spans go nowhere.
    """

    at_s: float
    started_s: float
    records: dict[str, dict[str, int]]
    undecided: int
    redacted: int
    lost: list[Lost]
    log_lines: dict[str, int]
    log_suppressed: int
    spans: SpansHealth | None


def lost_list(lost: Mapping[tuple[str, str], int]) -> list[Lost]:
    """Return what was lost, by name."""
    return [Lost(what, why, count) for (what, why), count in sorted(lost.items())]


class Lag:
    """How long ago something came, by how much came before it."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def note(self, came: int, now_s: float) -> None:
        """Remember that so much had come by now; of very many moments every other one is forgotten."""
        if self._marks and (came <= self._marks[-1][1] or now_s < self._marks[-1][0] + _MARK_EVERY_S):
            return
        self._marks.append((now_s, came))
        if len(self._marks) > MARKS:
            self._marks = deque(list(self._marks)[::2])

    def waited_s(self, left: int, now_s: float) -> float:
        """Return for how long at least the oldest has waited, where so much has left; what left is forgotten."""
        while self._marks and self._marks[0][1] <= left:
            self._marks.popleft()
        return now_s - self._marks[0][0] if self._marks else 0.0
