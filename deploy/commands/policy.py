"""``penstock policy``: checks, tries, formats, seals and describes policy files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from deploy.commands import policy_explain, policy_plan, policy_traffic, policy_trials
from deploy.commands.policy_files import load_tested
from gateway.trial.policy_tests import failures
from policies import commands


class Room(Protocol):
    """An action that has a module of its own."""

    SUMMARY: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the action takes."""
        ...

    def run(self, options: argparse.Namespace) -> int:
        """Do it, and return the exit code."""
        ...


_ROOMS: dict[str, Room] = {
    "test": policy_trials,
    "explain": policy_explain,
    "plan": policy_plan,
    "traffic": policy_traffic,
}


def run(arguments: Sequence[str]) -> int:
    """Run one of the policy commands."""
    parser = argparse.ArgumentParser(
        prog="penstock policy", description="Work on policy files; nothing running is touched."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say whether a directory can be applied, and what is wrong if not")
    check.add_argument("directory", metavar="DIR", help="the policy directory")
    check.add_argument("--json", action="store_true", help="print the outcome as JSON")
    fmt = actions.add_parser("fmt", help="put the files of a directory into the one format, comments kept")
    fmt.add_argument("directory", metavar="DIR", help="the policy directory")
    fmt.add_argument("--check", action="store_true", help="change nothing; exit with 1 when a file would change")
    fmt.add_argument("--json", action="store_true", help="print the outcome as JSON")
    seal = actions.add_parser("seal", help="write the files' digests beside them: what differs then is not taken")
    seal.add_argument("directory", metavar="DIR", help="the policy directory")
    instead = seal.add_mutually_exclusive_group()
    instead.add_argument("--check", action="store_const", dest="seal", const="check", help="say whether the seal holds")
    instead.add_argument("--remove", action="store_const", dest="seal", const="remove", help="take the seal away")
    seal.add_argument("--json", action="store_true", help="print the outcome as JSON")
    for name, room in _ROOMS.items():
        room.add_arguments(actions.add_parser(name, help=room.SUMMARY, description=room.SUMMARY))
    actions.add_parser("schema", help="print the JSON Schema of all policy files")
    options = parser.parse_args(arguments)
    if options.action in _ROOMS:
        return _ROOMS[options.action].run(options)
    if options.action == "check":
        return commands.check(options.directory, options.json, sys.stdout, sys.stderr, load_tested)
    if options.action == "fmt":
        return commands.fmt(options.directory, options.check, options.json, sys.stdout, sys.stderr)
    if options.action == "seal":
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        streams = (sys.stdout, sys.stderr)
        return commands.seal(options.directory, made_at, options.seal or "make", options.json, *streams, failures)
    return commands.schema(sys.stdout)
