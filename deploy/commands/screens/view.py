"""Decides what a key does to the view: which models are listed, in which order, and whether pods are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from deploy.commands.screens.board import Board, PodLine, VersionLine

Sort = Literal["name", "requests", "errors", "p99", "queue", "busy", "budget"]
_SORT_OF_KEY: Final[dict[str, Sort]] = {
    "n": "name",
    "r": "requests",
    "e": "errors",
    "l": "p99",
    "w": "queue",
    "b": "busy",
    "g": "budget",
}

FILTER_CHARACTERS = 64
_PAGE = 10


class View(Struct, frozen=True):
    """What the reader chose.

    Attributes:
        wanted: what a model's name has to contain.
        is_typing: keys go to ``wanted``.
        selected: index of the line, in the list as it is sorted and narrowed.
        opened: the model whose pods are shown; None shows versions.
        pod: index of the line among these.
    """

    sort: Sort = "name"
    is_reversed: bool = False
    wanted: str = ""
    is_typing: bool = False
    selected: int = 0
    opened: str | None = None
    pod: int = 0
    has_help: bool = False


def versions_in(board: Board, view: View) -> list[VersionLine]:
    """Return the versions to list, in their order; what is not known comes last whichever way they are sorted."""
    listed = [line for line in board.versions if view.wanted.lower() in line.model.lower()]
    if view.sort == "name":
        return sorted(listed, key=lambda line: (line.model, line.version), reverse=view.is_reversed)
    measure = _MEASURES[view.sort]
    known = [line for line in listed if measure(line) is not None]
    unknown = [line for line in listed if measure(line) is None]
    # The worst first: least budget, and most of everything else.
    is_falling = (view.sort != "budget") != view.is_reversed
    return [*sorted(known, key=lambda line: measure(line) or 0.0, reverse=is_falling), *unknown]


_MEASURES: Final[dict[str, Callable[[VersionLine], float | None]]] = {
    "requests": lambda line: line.requests_per_s,
    "errors": lambda line: line.error_ratio,
    "p99": lambda line: line.p99_s,
    "queue": lambda line: line.queued_rows,
    "busy": lambda line: line.busy,
    "budget": lambda line: line.budget,
}


def pods_in(board: Board, view: View) -> list[PodLine]:
    """Return the pods to list."""
    return [pod for pod in board.pods if pod.model == view.opened]


def pressed(view: View, key: str, board: Board | None) -> View | None:
    """Return the view after a key; None when the reader leaves."""
    if key == "ctrl-c":
        return None
    if view.is_typing:
        return _typed(view, key)
    if view.has_help:
        return None if key == "q" else replace(view, has_help=False)
    if key == "q":
        return None
    if key in ("?", "h"):
        return replace(view, has_help=True)
    if key == "/":
        return replace(view, is_typing=True, opened=None)
    if key in ("escape", "backspace", "left"):
        return replace(view, opened=None) if view.opened is not None else replace(view, wanted="", selected=0)
    return _moved(_sorted(view, key), key, board)


def _typed(view: View, key: str) -> View:
    if key == "enter":
        return replace(view, is_typing=False)
    if key == "escape":
        return replace(view, is_typing=False, wanted="")
    if key == "backspace":
        return replace(view, wanted=view.wanted[:-1], selected=0)
    if len(key) == 1 and key.isprintable():
        return replace(view, wanted=(view.wanted + key)[:FILTER_CHARACTERS], selected=0)
    return view


def _sorted(view: View, key: str) -> View:
    """Return the view in the order that a key asks for; the same key again turns it round."""
    sort = _SORT_OF_KEY.get(key)
    if sort is None:
        return view
    return replace(view, sort=sort, is_reversed=sort == view.sort and not view.is_reversed, selected=0)


def _moved(view: View, key: str, board: Board | None) -> View:
    if board is None:
        return view
    if view.opened is not None:
        return replace(view, pod=_stepped(view.pod, key, len(pods_in(board, view))))
    lines = versions_in(board, view)
    at = _stepped(view.selected, key, len(lines))
    if key in ("enter", "right") and lines:
        return replace(view, selected=at, opened=lines[at].model, pod=0)
    return replace(view, selected=at)


def _stepped(at: int, key: str, count: int) -> int:
    """Return where a key leads from a line of so many."""
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page-up": -_PAGE, "page-down": _PAGE, "home": -count, "end": count}
    return max(0, min(count - 1, at + steps.get(key, 0)))
