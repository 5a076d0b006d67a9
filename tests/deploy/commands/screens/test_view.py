"""What keys do to the view."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.screens.view import FILTER_CHARACTERS, View, pods_in, pressed, versions_in
from tests.deploy.commands.screens.boards import shown

BOARD = shown()


def after(*keys: str) -> View:
    view: View | None = View()
    for key in keys:
        assert view is not None
        view = pressed(view, key, BOARD)
    assert view is not None
    return view


def listed(view: View) -> list[str]:
    return [f"{one.model}/{one.version}" for one in versions_in(BOARD, view)]


def test_keys_sort_and_the_same_again_turns_round() -> None:
    assert listed(after()) == ["digits/1", "digits/2", "text/1"]
    assert listed(after("n")) == ["text/1", "digits/2", "digits/1"]
    assert listed(after("r")) == ["digits/1", "digits/2", "text/1"]
    assert listed(after("r", "r")) == ["text/1", "digits/2", "digits/1"]
    assert listed(after("e"))[0] == "text/1"


def test_what_is_not_known_comes_last_both_ways() -> None:
    assert listed(after("l")) == ["digits/2", "digits/1", "text/1"]
    assert listed(after("l", "l")) == ["digits/1", "digits/2", "text/1"]


def test_the_least_budget_comes_first() -> None:
    assert listed(after("g"))[-1] == "text/1"


def test_typing_narrows_and_escape_widens() -> None:
    typed = after("/", "T", "e", "q")
    assert (typed.wanted, typed.is_typing) == ("Teq", True)
    assert listed(after("/", "T", "e", "q", "backspace", "enter")) == ["text/1"]
    assert listed(after("/", "x", "enter", "escape")) == ["digits/1", "digits/2", "text/1"]
    assert len(after("/", *["x"] * 200).wanted) == FILTER_CHARACTERS


def test_enter_opens_the_models_pods_and_escape_goes_back_to_its_line() -> None:
    opened = after("j", "enter")
    assert opened.opened == "digits"
    assert [one.name for one in pods_in(BOARD, opened)] == ["digits/1/0", "digits/1/1", "digits/2/0"]
    assert after("j", "enter", "down", "down", "down", "down").pod == 2
    assert (after("j", "enter", "down", "escape").opened, after("j", "enter", "down", "escape").selected) == (None, 1)


def test_q_leaves_but_not_while_typing() -> None:
    assert pressed(View(), "q", BOARD) is None
    assert pressed(View(is_typing=True), "q", BOARD) is not None
    assert pressed(View(is_typing=True), "ctrl-c", BOARD) is None
    assert pressed(View(has_help=True), "q", BOARD) is None
    assert pressed(View(), "j", None) == View()


KEYS = ["j", "k", "up", "end", "home", "page-down", "enter", "escape", "/", "x", "?", "r", "g", "backspace", "left"]


@given(st.lists(st.sampled_from(KEYS)))
def test_whatever_is_pressed_a_line_that_is_there_is_selected(keys: list[str]) -> None:
    view = after(*keys)
    assert 0 <= view.selected <= 2
    assert 0 <= view.pod <= 2
