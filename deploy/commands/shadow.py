"""``penstock shadow``: shows what shadows have come to, replays recorded requests to a version, and begins anew."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from deploy.commands.running_mesh import NotReachable, Target, add_arguments, ask, change, decoded, find, read
from deploy.commands.shadow_text import progress_text, replay_text, shadows_text
from gateway.control.shadow_desk import MOST_AT_ONCE, ShadowsReport
from gateway.copies.reports import ReplayReport, ShadowSays

LOOK_EVERY_S = 0.5
_UNLIKE = (ShadowSays.DIFFERS, ShadowSays.WORSE)
_CODES = "Exit code 0 when it is the same or there is not enough data to say, 1 when it differs or is worse"


def run(arguments: Sequence[str]) -> int:
    """Run one action; 0 when it is done, 1 when a version differs or is worse, or the mesh refuses or is not there."""
    options = _parser().parse_args(arguments)
    try:
        done: int = options.do(options, find(options, os.environ, Path.home()))
    except NotReachable as error:
        print(f"penstock shadow: {error}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock shadow", description="Compare versions without a caller seeing it.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    report = actions.add_parser(
        "report",
        help="what the shadows of a model have come to",
        description=f"Show what the shadows of a model have come to. {_CODES}, or the mesh cannot be asked.",
    )
    report.set_defaults(do=_report)
    replay = actions.add_parser(
        "replay",
        help="send recorded requests to a version, and compare its answers with those recorded",
        description="Send recorded requests to a version, which need not serve, and compare its answers with those "
        f"recorded. {_CODES}, the replay fails, or the mesh cannot be asked. Ctrl-C ends the replay.",
    )
    replay.set_defaults(do=_replay)
    forget = actions.add_parser(
        "forget",
        help="let a shadow begin anew, or throw away what is recorded",
        description="Throw away what was compared for a shadow so far, or all that was recorded of a model.",
    )
    forget.set_defaults(do=_forget)
    for action in (report, replay, forget):
        action.add_argument("model", metavar="MODEL", help="the model's name")
        add_arguments(action)
    replay.add_argument("--version", required=True, metavar="V", help="the version to ask; its pods must be ready")
    replay.add_argument(
        "--shadow", default="", metavar="NAME", help="compare as this shadow does; default: the route's first, or JSON"
    )
    replay.add_argument(
        "--most", type=_count, default=1000, metavar="N", help="so many of the latest requests; default: 1000"
    )
    which = forget.add_mutually_exclusive_group(required=True)
    which.add_argument("--shadow", metavar="NAME", help="this shadow begins anew")
    which.add_argument("--recordings", action="store_true", help="the model's recorded requests go")
    return parser


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 to {MOST_AT_ONCE}")
    return int(text)


def _path(*parts: str) -> str:
    return "/".join(["/admin/shadows", *(quote(part, safe="") for part in parts)])


def _report(options: argparse.Namespace, target: Target) -> int:
    path = f"{_path()}?{urlencode({'model': options.model})}"
    answer = ask(target, path)
    report = decoded(target, path, answer, ShadowsReport)
    print(answer.decode() if options.json else shadows_text(report.shadows, options.model))
    return int(any(shadow.says in _UNLIKE for shadow in report.shadows))


def _replay(options: argparse.Namespace, target: Target) -> int:
    path = _path(options.model, "replays")
    wanted = {"version": options.version, "shadow": options.shadow, "most": options.most}
    replay = decoded(target, path, change(target, "POST", path, wanted), ReplayReport)
    at = _path(options.model, "replays", str(replay.number))
    try:
        replay = _watched(target, at, replay)
    except KeyboardInterrupt:
        change(target, "DELETE", at)
        print(f"\nreplay {replay.number} is ended", file=sys.stderr)
        raise
    print(msgspec.json.encode(replay).decode() if options.json else replay_text(replay))
    is_unlike = replay.report is not None and replay.report.says in _UNLIKE
    return int(replay.state != "done" or is_unlike)


def _watched(target: Target, at: str, replay: ReplayReport) -> ReplayReport:
    """Return how a replay ended; shows meanwhile how far it is, in one line where that can be written over."""
    is_screen = sys.stderr.isatty()
    shown = ""
    while replay.state == "running":
        if (line := progress_text(replay)) != shown:
            print(f"\r{line}" if is_screen else line, end="" if is_screen else "\n", file=sys.stderr, flush=True)
            shown = line
        time.sleep(LOOK_EVERY_S)
        replay = read(target, at, ReplayReport)
    if shown and is_screen:
        print(file=sys.stderr)
    return replay


def _forget(options: argparse.Namespace, target: Target) -> int:
    path = _path(options.model, "recordings" if options.recordings else options.shadow)
    answer = change(target, "DELETE", path)
    told = "what was recorded of it is thrown away" if options.recordings else f"shadow {options.shadow} begins anew"
    print(answer.decode() if options.json else f"{options.model}: {told}")
    return 0
