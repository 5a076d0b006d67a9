"""The lines of a terminal: they fit, whatever its size, and nothing that a mesh says commands it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from deploy.commands.screens.board import Board
from deploy.commands.screens.screen import Line, cells, clipped, screen, snapshot, written
from deploy.commands.screens.view import View
from tests.deploy.commands.screens.boards import shown

BOARD = shown()


def text(lines: list[Line]) -> str:
    return "\n".join(written(line, has_colour=False).rstrip() for line in lines)


def many(versions: int, firing: int) -> Board:
    lines = [replace(BOARD.versions[0], model=f"model-{at:03}") for at in range(versions)]
    return replace(BOARD, versions=tuple(lines), firing=BOARD.firing[:1] * firing)


AT_80 = """\
demo: ready  1.25k req/s  1 in flight  6 waiting  workers 1/1       00:16:40 UTC
page 1h  digits-availability of digits: for 16 min, 1h burns 21.3x, the budget e
breach likely  text-fast of text: for 10 min, 1h burns 21.3x, the budget ends in
MODEL            REQ/S   ERR   P50   P99  WAIT  RUN BATCH BUSY   LEFT STATE
digits/1         1.23k 1.20% 3.1ms  18ms    12    2   4.2  75%  -33%? page
digits/2 *        12.3    0% 2.9ms 1.25s     3    1     -    -  -33%? page
text/1            0.20  100%     -     -     -    -     -   0%    61% failed"""


def test_all_of_it_fits_into_80_columns() -> None:
    lines = text(screen(BOARD, View(), 80, 24)).splitlines()
    assert "\n".join(lines[:7]) == AT_80
    assert lines[-1] == "q quit  ? keys  / filter  Enter pods  by name"


@pytest.mark.parametrize("view", [View(), View(has_help=True), View(opened="digits"), View(is_typing=True, wanted="x")])
@given(columns=st.integers(1, 200), rows=st.integers(1, 60))
def test_nothing_is_wider_or_longer_than_the_terminal(view: View, columns: int, rows: int) -> None:
    for board in (BOARD, many(200, 30), None):
        lines = screen(board, view, columns, rows, error="the mesh does not answer " * 9)
        assert len(lines) <= rows
        assert all(cells(written(line, has_colour=False)) <= columns for line in lines)


def test_the_selected_line_is_in_sight_among_two_hundred_models() -> None:
    for selected in (0, 17, 199):
        lines = screen(many(200, 0), View(selected=selected), 100, 24)
        (reversed_,) = [line for line in lines if line[0].style == "7"]
        assert reversed_[0].text.startswith(f"model-{selected:03}")


def test_many_alerts_leave_room_for_models() -> None:
    lines = text(screen(many(9, 30), View(), 80, 24)).splitlines()
    assert "and 26 more alerts fire" in lines
    assert sum(line.startswith("model-") for line in lines) == 9


def test_what_is_old_is_said_and_stays() -> None:
    lines = text(screen(BOARD, View(), 100, 24, error="http://127.0.0.1:8081 does not answer")).splitlines()
    assert lines[1] == "http://127.0.0.1:8081 does not answer"
    assert any(line.startswith("digits/1 ") for line in lines)
    assert "asking the mesh" in text(screen(None, View(), 80, 24))


def test_pods_of_a_model_with_what_the_selected_one_says() -> None:
    lines = text(screen(BOARD, View(opened="text"), 80, 24)).splitlines()
    assert lines[-2] == "no such ?[31mmodel"
    assert lines[3].startswith("POD OF text")
    digits = text(screen(BOARD, View(opened="digits"), 80, 24))
    assert digits.count("digits/") == 3


def test_an_empty_list_says_why() -> None:
    assert 'no model has "zz" in its name' in text(screen(BOARD, View(wanted="zz"), 80, 24))
    assert "no model is served" in text(screen(replace(BOARD, versions=()), View(), 80, 24))


def test_colours_come_only_where_they_are_wanted() -> None:
    lines = screen(BOARD, View(), 80, 24)
    assert all("\x1b" not in written(line, has_colour=False) for line in lines)
    assert any("\x1b[31m" in written(line, has_colour=True) for line in lines)


def test_a_snapshot_has_everything_however_long() -> None:
    lines = text(snapshot(many(200, 30), 120)).splitlines()
    assert sum(line.startswith("model-") for line in lines) == 200
    assert sum("burns" in line for line in lines) == 30
    assert "PODS" in text(snapshot(BOARD, 120))


def test_wide_letters_take_two_columns() -> None:
    assert (cells("日本a"), clipped("日本a", 3), clipped("日本a", 4)) == (5, "日", "日本")
    assert cells("e\u0301") == 1
