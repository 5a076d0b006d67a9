"""Event lines that never make the mesh wait."""

from __future__ import annotations

import io
import re
import threading

from deploy.local.events import MAX_WAITING_LINES, EventLog, not_shown


class PausedTerminal(io.StringIO):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def write(self, text: str) -> int:
        self.let_go.wait()
        return super().write(text)


def test_an_event_has_the_time_of_day_and_a_plain_line_has_none() -> None:
    out = io.StringIO()
    log = EventLog(out)
    log.event("mesh: ready")
    log.plain("curl -sS")
    log.close()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} mesh: ready\ncurl -sS\n", out.getvalue())


def test_a_paused_terminal_costs_lines_and_their_number_is_said() -> None:
    out = PausedTerminal()
    log = EventLog(out)
    # One line is with the terminal at most; the rest waits, and what finds no room is dropped.
    for number in range(MAX_WAITING_LINES + 100):
        log.plain(str(number))
    out.let_go.set()
    log.close()
    *printed, last = out.getvalue().splitlines()
    assert printed == [str(number) for number in range(len(printed))]
    assert last == not_shown(MAX_WAITING_LINES + 100 - len(printed))


def test_lines_after_a_terminal_went_away_do_no_harm() -> None:
    out = io.StringIO()
    log = EventLog(out)
    out.close()
    log.plain("nobody reads this")
    log.close()
