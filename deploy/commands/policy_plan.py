"""``penstock policy plan``: says what a policy directory would change, and what it would have done to real traffic."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deploy.commands.plan_text import describe, share_text
from deploy.commands.policy_files import RUNNING, NoPolicyThere, in_force, read_directory, running_state, tell
from deploy.commands.running_stages import running_stages
from gateway.decide.stage import Stage
from gateway.decisions.folder import FOLDER, Read, read_blocks
from gateway.trial.plan import Plan, doubt, plan_of, plan_without_traffic
from gateway.trial.replay import Replay
from gateway.trial.traffic import ordered
from policies.errors import advice
from policies.snapshot.generation import Snapshot
from policies.units import UnitError, duration_s, fraction, percent_text

SUMMARY = "say what a directory would change, for whom, and what it would have done to recorded traffic"
_NONE = "none"
_LAST = re.compile(r"last-(.+)")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where recorded traffic is, and which of it counts."""

    place: Path
    since_s: float = 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("directory", metavar="DIR", help="the policy directory")
    parser.add_argument(
        "--against", metavar="DIR", default=RUNNING, help="the policy before; default: the running mesh's"
    )
    parser.add_argument(
        "--traffic",
        metavar="FILE",
        help="what to replay: a file of `penstock policy traffic`, last-24h, last-1h or none; "
        "default: last-24h where a mesh runs",
    )
    parser.add_argument(
        "--max-new-refusals",
        metavar="SHARE",
        help="exit with 1 beyond this share of requests, as 0.1%%, or where no traffic shows how many there would be",
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="state directory; default: this user's mesh")
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(options: argparse.Namespace) -> int:
    """Plan; 1 when the directory is refused or too many requests would be, 2 for a mistake in the arguments."""
    try:
        most_share = None if options.max_new_refusals is None else fraction(options.max_new_refusals)
        state = running_state(options.state)
        traffic = _traffic(options.traffic, state)
        after = read_directory(options.directory)
        before = in_force(state) if options.against == RUNNING else read_directory(options.against, is_tested=False)
    except UnitError as error:
        print(f"penstock policy plan: {advice(error.problem, error.fix)}", file=sys.stderr)
        return 2
    except NoPolicyThere as error:
        return tell("plan", error)
    if most_share is not None and traffic is None:
        print("penstock policy plan: --max-new-refusals needs traffic: name some with --traffic", file=sys.stderr)
        return 2
    if traffic is None:
        plan = plan_without_traffic(before, after)
    else:
        stages = running_stages(before, state) if options.against == RUNNING else {}
        plan = replayed(before, after, traffic, stages)
    why_not = "" if most_share is None else _why_not(plan, most_share)
    if options.json:
        told = {"ok": not why_not, "why_not": why_not, "new_refusal_share": plan.new_refusal_share, "plan": plan}
        print(msgspec.json.encode(told).decode())
    else:
        print("\n".join(describe(plan)))
    if why_not:
        print(f"penstock policy plan: {why_not}", file=sys.stderr)
    return 1 if why_not else 0


def _why_not(plan: Plan, most_share: float) -> str:
    """Return why a plan does not keep to a share of new refusals; "" where it does."""
    if why_not := doubt(plan):
        return why_not
    if plan.new_refusal_share > most_share:
        share = f"{plan.new_refusals:,} requests, {share_text(plan.new_refusal_share)} of all,"
        return f"{share} would be newly refused, more than {percent_text(most_share)}"
    return ""


def _traffic(asked: str | None, state: Path | None) -> Traffic | None:
    """Return what is to be replayed, None for nothing.

    Raises:
        NoPolicyThere: it is not there.
        UnitError: how far back is no length of time.
    """
    if asked == _NONE or (asked is None and state is None):
        return None
    last = _LAST.fullmatch(asked or "last-24h")
    if last is None:
        if not Path(str(asked)).is_file():
            raise NoPolicyThere(f"--traffic {asked}: neither a file, nor last-24h, last-1h or none", 2)
        return Traffic(Path(str(asked)))
    length_s = duration_s(last[1])
    if state is None:
        raise NoPolicyThere("no mesh is running whose traffic was recorded: name one with --state", 1)
    return Traffic(state / FOLDER, time.time() - length_s)


def replayed(before: Snapshot, after: Snapshot, traffic: Traffic, stages: Mapping[str, Stage]) -> Plan:
    """Replay traffic by both policies.

    Args:
        stages: by model, where the canaries of the policy before stand.
    """
    read, replay = Read(), Replay(before, after, stages)
    blocks = read_blocks(traffic.place, traffic.since_s, float("inf"), read)
    replay.run(ordered(blocks, traffic.since_s), _progress)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return plan_of(replay, read)


def _progress(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\rreplayed {count:,} requests", end="", file=sys.stderr, flush=True)
