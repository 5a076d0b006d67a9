"""``penstock policy``: checks, formats and describes policy files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from policies import commands


def run(arguments: Sequence[str]) -> int:
    """Run one of the policy commands."""
    parser = argparse.ArgumentParser(
        prog="penstock policy", description="Work on policy files; nothing running is touched."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="say whether a directory can be applied, and what is wrong if not")
    check.add_argument("directory", metavar="DIR")
    check.add_argument("--json", action="store_true", help="print the outcome as JSON")
    fmt = actions.add_parser("fmt", help="put the files of a directory into the one format, comments kept")
    fmt.add_argument("directory", metavar="DIR")
    fmt.add_argument("--check", action="store_true", help="change nothing; exit with 1 when a file would change")
    fmt.add_argument("--json", action="store_true", help="print the outcome as JSON")
    actions.add_parser("schema", help="print the JSON Schema of all policy files")
    options = parser.parse_args(arguments)
    if options.action == "check":
        return commands.check(options.directory, options.json, sys.stdout, sys.stderr)
    if options.action == "fmt":
        return commands.fmt(options.directory, options.check, options.json, sys.stdout, sys.stderr)
    return commands.schema(sys.stdout)
