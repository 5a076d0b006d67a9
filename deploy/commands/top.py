"""``penstock top``: shows what the running mesh does, live in the terminal or once as text or JSON."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from deploy.commands.numbers import number
from deploy.commands.running_mesh import NotReachable, Target, add_arguments, find, read
from deploy.commands.screens.board import Board, Look, board
from deploy.commands.screens.live import Latest, live
from deploy.commands.screens.screen import screen, snapshot, written
from deploy.commands.screens.terminal import has_colour, is_terminal
from deploy.commands.screens.view import View, pressed
from gateway.control.reports import PodsReport, StatusReport
from gateway.control.slo_reports import ActivityReport, SloReport

ACTIVITY = "/admin/activity?within_s=30"
INTERVAL_S = 2.0
LEAST_INTERVAL_S, MOST_INTERVAL_S = 0.5, 60.0
# Means and shares of pods are of two looks; pods are probed about twice a second.
BETWEEN_S = 1.5
# Where nobody says how wide: wide enough for every column.
PIPE_COLUMNS = 120


def run(arguments: Sequence[str]) -> int:
    """Show the mesh until the reader leaves, or once; 1 when it cannot be asked."""
    options = _parser().parse_args(arguments)
    try:
        looks = Looks(find(options, os.environ, Path.home()))
        if options.once or (not is_terminal() and not options.json):
            _print_once(looks, as_json=options.json)
        elif options.json:
            _print_for_ever(looks, options.interval)
        else:
            live(looks.board, options.interval, View(), pressed, _drawn)
    except NotReachable as error:
        print(f"penstock top: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="penstock top",
        description="Show what the running mesh does: models, versions, pods, alerts that fire.",
        epilog="In a terminal it is live (? tells the keys), elsewhere it is printed once. A look takes 30 s back; "
        "batches and busy devices are those since the look before.",
    )
    add_arguments(parser)
    parser.add_argument("--once", action="store_true", help="print it once, after two looks")
    parser.add_argument("--interval", type=_interval_s, default=INTERVAL_S, metavar="S", help="look so often (2)")
    return parser


class Looks:
    """Looks at one mesh, each time with what was seen the time before."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._before: Look | None = None

    def board(self) -> Board:
        """Return what the mesh does now.

        Raises:
            NotReachable: it does not answer, or refuses.
        """
        now = self._look()
        before, self._before = self._before, now
        return board(before, now)

    def _look(self) -> Look:
        target = self._target
        pods = read(target, "/admin/pods", PodsReport)
        at_s = time.monotonic()
        slo, activity = read(target, "/admin/slo", SloReport), read(target, ACTIVITY, ActivityReport)
        return Look(at_s, pods.pods, pods.stable_versions, slo, activity, self._status())

    def _status(self) -> StatusReport | None:
        """Return the whole mesh's status; None for whoever may see some models alone."""
        try:
            return read(self._target, "/admin/status", StatusReport)
        except NotReachable:
            return None


def _print_once(looks: Looks, *, as_json: bool) -> None:
    looks.board()
    time.sleep(BETWEEN_S)
    _print(looks.board(), as_json=as_json)


def _print_for_ever(looks: Looks, interval_s: float) -> None:
    for one in _boards(looks, interval_s):
        _print(one, as_json=True)
        sys.stdout.flush()


def _boards(looks: Looks, interval_s: float) -> Iterator[Board]:
    while True:
        yield looks.board()
        time.sleep(interval_s)


def _print(one: Board, *, as_json: bool) -> None:
    if as_json:
        print(msgspec.json.encode(one).decode())
        return
    columns = shutil.get_terminal_size((PIPE_COLUMNS, 0)).columns
    for line in snapshot(one, columns):
        print(written(line, has_colour=has_colour()).rstrip())


def _drawn(latest: Latest[Board], view: View, size: tuple[int, int]) -> list[str]:
    lines = screen(latest.seen, view, *size, latest.error)
    return [written(line, has_colour=has_colour()) for line in lines]


def _interval_s(text: str) -> float:
    return number(text, LEAST_INTERVAL_S, MOST_INTERVAL_S, "seconds")
