"""``penstock rollout``: shows canaries with their verdicts, and pauses, resumes, promotes or rolls one back."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from deploy.commands.numbers import whole
from deploy.commands.rollout_text import in_one_line, rollout_text, rollouts_text
from deploy.commands.running_mesh import (
    NotAllowed,
    NotReachable,
    Target,
    add_arguments,
    ask,
    change,
    decoded,
    find,
    read,
)
from deploy.commands.table import printable
from gateway.control.rollout_reports import RolloutReport, RolloutsReport
from gateway.decide.rollouts.progress import RolloutState

LOOK_EVERY_S = 1.0
_NOT_SAID = "no reason was given"
_CLEAR_SCREEN = "\x1b[H\x1b[2J"


def run(arguments: Sequence[str]) -> int:
    """Run one action; 0 when it is done, 1 when the mesh refuses or cannot be asked."""
    options = _parser().parse_args(arguments)
    try:
        done: int = options.do(options, find(options, os.environ, Path.home()))
    except NotReachable as error:
        print(f"penstock rollout: {error}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock rollout", description="Show canaries, and say what they shall do.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="where canaries stand, why, and what to do next")
    status.add_argument("model", nargs="?", metavar="MODEL", help="one model's, with its evidence; all when left out")
    status.add_argument("--watch", action="store_true", help="show it again whenever it changes, until it is over")
    status.set_defaults(do=_status)
    add_arguments(status)
    for name, summary in (
        ("pause", "leave its share as it is; harm is looked for all the same"),
        ("resume", "let a paused one go on; one paused for harm gathers its evidence anew"),
        ("promote", "approve the step that waits for it, else go to the next step"),
        ("rollback", "give stable all requests back, as far as its pods are ready"),
    ):
        action = actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        action.add_argument("model", metavar="MODEL", help="the model's name")
        action.add_argument("--reason", default=_NOT_SAID, metavar="TEXT", help="why, for the audit log")
        if name == "promote":
            how_far = action.add_mutually_exclusive_group()
            how_far.add_argument("--to-end", action="store_true", help="to the whole share, past all steps")
            how_far.add_argument(
                "--from-step", type=_step, metavar="N", help="only if it is at this step still, as status numbers them"
            )
        action.set_defaults(do=_order)
        add_arguments(action)
    return parser


def _status(options: argparse.Namespace, target: Target) -> int:
    if options.watch:
        return _watch(options, target)
    answer, text, _ = _look(options, target)
    print(answer.decode() if options.json else text)
    return 0


def _look(options: argparse.Namespace, target: Target) -> tuple[bytes, str, bool]:
    """Return the answer, its text for people, and whether all that it shows is over."""
    if options.model is None:
        answer = ask(target, "/admin/rollouts")
        every = decoded(target, "/admin/rollouts", answer, RolloutsReport)
        return answer, rollouts_text(every), all(_is_over(one) for one in every.rollouts)
    path = _path(options.model)
    answer = ask(target, path)
    one = decoded(target, path, answer, RolloutReport)
    return answer, rollout_text(one, time.time()), _is_over(one)


def _is_over(report: RolloutReport) -> bool:
    return report.state in (RolloutState.PROMOTED, RolloutState.ROLLED_BACK) and report.share == report.target_share


def _watch(options: argparse.Namespace, target: Target) -> int:
    """Show it again and again: on a screen in place, elsewhere as JSON or as a line whenever that changes."""
    last = ""
    while True:
        answer, text, is_over = _look(options, target)
        if options.json:
            text = answer.decode()
        elif sys.stdout.isatty():
            text = _CLEAR_SCREEN + text
        elif options.model is not None:
            text = in_one_line(decoded(target, _path(options.model), answer, RolloutReport))
        if text != last:
            print(text, flush=True)
        last = text
        if is_over:
            return 0
        time.sleep(LOOK_EVERY_S)


def _order(options: argparse.Namespace, target: Target) -> int:
    path = f"{_path(options.model)}/{options.action}"
    if options.action == "promote":
        path += _how_far(options, target)
    answer = change(target, "POST", path, {"reason": options.reason})
    done = decoded(target, path, answer, RolloutReport)
    why = f"\n{printable(done.because)}" if options.action == "promote" else ""  # it says what was skipped
    print(answer.decode() if options.json else f"{in_one_line(done)}{why}")
    return 0


def _step(text: str) -> int:
    return whole(text, 1)


def _how_far(options: argparse.Namespace, target: Target) -> str:
    """Return the query of a promotion: of the step that was seen, or is now, so that two at once are not two steps."""
    if options.to_end:
        return "?to=end"
    if options.from_step is not None:
        return f"?from_step={options.from_step - 1}"
    try:
        return f"?from_step={read(target, _path(options.model), RolloutReport).step}"
    except NotAllowed:  # not everybody who may promote may look
        return ""


def _path(model: str) -> str:
    return f"/admin/rollouts/{quote(model, safe='')}"
