"""Decides what the terminal shows: a board and a view become lines that fit into so many columns and rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from msgspec import Struct

from deploy.commands.screens import figures
from deploy.commands.screens.board import Board, FiringLine, Headline, PodLine, VersionLine
from deploy.commands.screens.view import View, pods_in, versions_in
from deploy.commands.waterfall import plain
from gateway.control.slo_words import length
from policies.units import duration_text

LEAST_COLUMNS, LEAST_ROWS = 40, 8
# Of the rows for alerts: a mesh on fire must not hide its models.
_FIRING_SHARE = 4

PLAIN, BOLD, DIM, RED, YELLOW, GREEN, REVERSED = "", "1", "2", "31", "33", "32", "7"
_STYLE_OF_STATE: Final = {
    "page": RED,
    "exhausted": RED,
    "failed": RED,
    "no pod": RED,
    "likely": YELLOW,
    "ticket": YELLOW,
    "starting": YELLOW,
    "restarting": YELLOW,
    "draining": YELLOW,
    "ok": GREEN,
    "ready": GREEN,
}
HELP: Final = (
    "j k, arrows     to the next, the previous line; PgUp PgDn Home End go further",
    "Enter           the pods of the line's model; Esc goes back",
    "/               narrow the list to models whose name has what you type; Esc clears it",
    "n r e l w b g   sort by name, requests, errors, p99, queue (what waits), busy, budget;",
    "                the same key again turns the order round",
    "q, Ctrl-C       leave",
    "",
    "REQ/S ERR P50 P99   of the last half minute; of answers below 400 the times",
    "WAIT RUN            rows that wait in pods, and rows in batches that run now",
    "BATCH BUSY          since the last look: rows in a batch, share of time a device was held",
    "LEFT                of the error budget of the model's worst objective; ? after few events",
    "STATE               of the model's objectives, the worst; of its pods while none serves",
)

Row = TypeVar("Row")


class Styled(Struct, frozen=True):
    """Text and how it is shown: a code of ANSI's SGR, "" as it is."""

    text: str
    style: str = PLAIN


Line = tuple[Styled, ...]


class Column(Struct, Generic[Row], frozen=True):
    """One column of a table.

    Attributes:
        write: what stands in it.
        is_left: it begins at the left; numbers end at the right.
        from_columns: it is left out where the terminal is narrower.
    """

    head: str
    width: int
    write: Callable[[Row], str]
    is_left: bool = False
    from_columns: int = 0


_VERSION_COLUMNS: Final[tuple[Column[VersionLine], ...]] = (
    Column("REQ/S", 5, lambda one: figures.rate(one.requests_per_s)),
    Column("ERR", 5, lambda one: figures.share(one.error_ratio)),
    Column("P50", 5, lambda one: figures.time(one.p50_s), from_columns=52),
    Column("P99", 5, lambda one: figures.time(one.p99_s)),
    Column("WAIT", 5, lambda one: figures.count(one.queued_rows), from_columns=58),
    Column("RUN", 4, lambda one: figures.count(one.running_rows), from_columns=64),
    Column("BATCH", 5, lambda one: figures.mean(one.batch_rows), from_columns=70),
    Column("BUSY", 4, lambda one: figures.whole_share(one.busy), from_columns=75),
    Column("LEFT", 6, lambda one: figures.budget(one.budget, is_sure=one.is_budget_sure), from_columns=46),
    Column("PODS", 5, lambda one: f"{one.ready_pods}/{one.pods}", from_columns=96),
    Column("STATE", 10, lambda one: one.state, is_left=True),
)
_POD_COLUMNS: Final[tuple[Column[PodLine], ...]] = (
    Column("DEVICE", 8, lambda one: plain(one.device) or figures.NONE, is_left=True, from_columns=60),
    Column("WAIT", 5, lambda one: figures.count(one.queued_rows)),
    Column("RUN", 4, lambda one: figures.count(one.running_rows)),
    Column("BATCH", 5, lambda one: figures.mean(one.batch_rows), from_columns=50),
    Column("BUSY", 4, lambda one: figures.whole_share(one.busy)),
    Column("RESTARTS", 8, lambda one: figures.count(one.restarts), from_columns=70),
    Column("STATE", 10, lambda one: one.state, is_left=True),
)


def screen(board: Board | None, view: View, columns: int, rows: int, error: str = "") -> list[Line]:
    """Return at most ``rows`` lines, none wider than ``columns``.

    Args:
        board: None before the mesh has been asked once.
        error: why what is shown is old; "" when it is not.
    """
    if columns < LEAST_COLUMNS or rows < LEAST_ROWS:
        too_small: Line = (Styled(clipped(f"at least {LEAST_COLUMNS} columns, {LEAST_ROWS} rows", columns)),)
        return [too_small]
    top = _top(board, error, columns)
    if view.has_help:
        body: list[Line] = [(Styled(clipped(line, columns)),) for line in HELP]
    elif board is None:
        body = []
    else:
        firing = _firing(board, columns, max(1, (rows - len(top) - 2) // _FIRING_SHARE))
        body = [*firing, *_table(board, view, columns, rows - len(top) - len(firing) - 1)]
    lines = [*top, *body][: rows - 1]
    return [*lines, _foot(view, columns)]


def snapshot(board: Board, columns: int) -> list[Line]:
    """Return the whole board, however long: every version, then every pod."""
    versions = versions_in(board, View())
    lines: list[Line] = [*_top(board, "", columns), *_firing(board, columns, len(board.firing))]
    lines += [_head(_VERSION_COLUMNS, "MODEL", columns)]
    lines += [_row(_VERSION_COLUMNS, _version_name(one), one, one.state, columns) for one in versions]
    lines += [(Styled(""),), _head(_POD_COLUMNS, "POD", columns)]
    return [*lines, *(_row(_POD_COLUMNS, one.name, one, one.state, columns) for one in board.pods)]


def written(line: Line, *, has_colour: bool) -> str:
    """Return a line as it is sent to a terminal."""
    if not has_colour:
        return "".join(piece.text for piece in line)
    return "".join(f"\x1b[{piece.style}m{piece.text}\x1b[0m" if piece.style else piece.text for piece in line)


def cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(_cells_of(letter) for letter in text)


def clipped(text: str, columns: int) -> str:
    """Return as much of a text as fits."""
    taken = 0
    for at, letter in enumerate(text):
        taken += _cells_of(letter)
        if taken > columns:
            return text[:at]
    return text


def _cells_of(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _top(board: Board | None, error: str, columns: int) -> list[Line]:
    lines: list[Line] = []
    if board is not None:
        lines.append(_headline(board.headline, board.at, columns))
    elif not error:
        lines.append((Styled("asking the mesh ..."),))
    if error:
        lines.append((Styled(clipped(plain(error), columns), RED),))
    return lines


def _headline(head: Headline, at_s: float, columns: int) -> Line:
    at = datetime.fromtimestamp(at_s, UTC)
    words = [
        *([f"{head.mesh}: {head.state}"] if head.mesh else ["penstock"]),
        f"{figures.rate(head.requests_per_s)} req/s",
        *([f"{head.in_flight} in flight"] if head.in_flight is not None else []),
        *([f"{head.waiting} waiting"] if head.waiting else []),
        *([f"workers {head.workers}/{head.workers_wanted}"] if head.workers is not None else []),
        *([f"generation {head.generation}"] if head.generation is not None else []),
        *([f"up {length(head.uptime_s)}"] if head.uptime_s is not None else []),
    ]
    clock = f"{at:%H:%M:%S} UTC"
    while len(words) > 1 and cells("  ".join(words)) > columns - len(clock) - 2:
        words.pop()
    said = clipped("  ".join(words), columns - len(clock) - 2)
    return (Styled(said, BOLD), Styled(" " * (columns - cells(said) - len(clock))), Styled(clock, DIM))


def _firing(board: Board, columns: int, most: int) -> list[Line]:
    shown = board.firing if len(board.firing) <= most else board.firing[: most - 1]
    lines: list[Line] = [_alert(one, columns) for one in shown]
    if len(shown) < len(board.firing):
        lines.append((Styled(clipped(f"and {len(board.firing) - len(shown)} more alerts fire", columns), RED),))
    return lines


def _alert(one: FiringLine, columns: int) -> Line:
    ends = {None: "", 0.0: ", the budget is spent"}.get(one.exhaustion_s)
    if ends is None:
        ends = f", the budget ends in {length(one.exhaustion_s or 0.0)}"
    text = (
        f"{one.name}  {one.slo} of {one.model}: for {length(one.lasted_s)}, "
        f"{duration_text(one.long_s)} burns {one.long_burn:.3g}x{ends}"
    )
    return (Styled(clipped(text, columns), RED if one.severity == "page" else YELLOW),)


def _table(board: Board, view: View, columns: int, room: int) -> list[Line]:
    """Return the table with the selected line in it; ``room`` is for its head too."""
    if view.opened is not None:
        pods = pods_in(board, view)
        shown, at = _around(pods, view.pod, room - 2)
        lines = [_head(_POD_COLUMNS, f"POD OF {view.opened}", columns)]
        lines += [_row(_POD_COLUMNS, one.name, one, one.state, columns, index == at) for index, one in enumerate(shown)]
        message = pods[min(view.pod, len(pods) - 1)].message if pods else "no pod of this model"
        return [*lines, *([(Styled(clipped(plain(message), columns), DIM),)] if message else [])]
    versions = versions_in(board, view)
    listed, at = _around(versions, view.selected, room - 1)
    lines = [_head(_VERSION_COLUMNS, "MODEL", columns)]
    lines += [
        _row(_VERSION_COLUMNS, _version_name(one), one, one.state, columns, index == at)
        for index, one in enumerate(listed)
    ]
    if not versions:
        said = f'no model has "{view.wanted}" in its name' if view.wanted else "no model is served"
        lines.append((Styled(clipped(said, columns), DIM),))
    return lines


def _around(lines: Sequence[Row], selected: int, room: int) -> tuple[Sequence[Row], int]:
    """Return the page of lines that has the selected one, and its index in that."""
    room, selected = max(1, room), min(selected, max(0, len(lines) - 1))
    first = selected - selected % room
    return lines[first : first + room], selected - first


def _version_name(one: VersionLine) -> str:
    return f"{one.model}/{one.version}{'' if one.is_stable else ' *'}"


def _shown(every: Sequence[Column[Row]], columns: int) -> list[Column[Row]]:
    return [column for column in every if columns >= column.from_columns]


def _name_columns(shown: Sequence[Column[Row]], columns: int) -> int:
    return max(1, columns - sum(column.width + 1 for column in shown))


def _head(every: Sequence[Column[Row]], name: str, columns: int) -> Line:
    shown = _shown(every, columns)
    texts = [_fitted(column.head, column) for column in shown]
    return (Styled(" ".join([_padded(name, _name_columns(shown, columns)), *texts]), DIM),)


def _row(
    every: Sequence[Column[Row]], name: str, row: Row, state: str, columns: int, is_selected: bool = False
) -> Line:
    shown = _shown(every, columns)
    texts = [_fitted(column.write(row), column) for column in shown]
    before = " ".join([_padded(plain(name), _name_columns(shown, columns)), *texts[:-1], ""])
    if is_selected:
        return (Styled(before + texts[-1], REVERSED),)
    return (Styled(before), Styled(texts[-1].rstrip(), _STYLE_OF_STATE.get(state, PLAIN)))


def _fitted(text: str, column: Column[Row]) -> str:
    text = clipped(text, column.width)
    return _padded(text, column.width) if column.is_left else text.rjust(column.width)


def _padded(text: str, width: int) -> str:
    text = clipped(text, width)
    return text + " " * (width - cells(text))


def _foot(view: View, columns: int) -> Line:
    if view.is_typing:
        return (Styled(clipped(f"model: {view.wanted}_", columns), BOLD),)
    order = f"by {view.sort}{', turned round' if view.is_reversed else ''}"
    narrowed = f', "{view.wanted}" only' if view.wanted else ""
    hint = "q quit  ? keys  / filter  Enter pods" if view.opened is None else "q quit  ? keys  Esc back"
    return (Styled(clipped(f"{hint}  {order}{narrowed}", columns), DIM),)
