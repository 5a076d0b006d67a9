"""``penstock key``: makes API keys, lists those of the running mesh, and takes one out of use or back into it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deploy.commands.moment import moment
from deploy.commands.running_mesh import NotReachable, add_arguments, ask, change, decoded, find
from deploy.commands.table import printable, table
from deploy.local_key import new_key
from gateway.control.key_reports import KeysReport, RevokedReport
from gateway.decide.api_keys import sha256_hex
from policies import units
from policies.schema.written import NAME_PATTERN
from policies.snapshot.tenant import KNOWN_SCOPES

_DEFAULT_SCOPES = "infer,explain"
_PATH = "/admin/keys"


def run(arguments: Sequence[str]) -> int:
    """Run one action; 0 when it is done, 1 when the mesh refuses or cannot be asked."""
    options = _parser().parse_args(arguments)
    try:
        done: int = options.do(options)
    except NotReachable as error:
        print(f"penstock key: {error}", file=sys.stderr)
        return 1
    return done


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock key", description="Make, list and revoke API keys.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a key and print it once, with the lines for the tenant's file")
    new.add_argument("--tenant", required=True, type=_name, metavar="NAME", help="whose key it is to be")
    new.add_argument("--id", type=_name, metavar="ID", help="what logs call it; made from the key when left out")
    new.add_argument(
        "--scopes", type=_scopes, default=_DEFAULT_SCOPES, metavar="LIST", help=f"default: {_DEFAULT_SCOPES}"
    )
    new.add_argument("--not-before", type=moment, metavar="MOMENT", help="it works from then on")
    new.add_argument("--not-after", type=moment, metavar="MOMENT", help="2027-03-01T00:00:00Z, or 90d from now")
    new.add_argument("--json", action="store_true", help="print JSON")
    new.set_defaults(do=_new)
    listed = actions.add_parser("list", help="show every key of the running mesh: state and last use")
    add_arguments(listed)
    listed.set_defaults(do=_list)
    for action, what in (("revoke", "refuse a key from now on"), ("restore", "let a revoked key be used again")):
        changing = actions.add_parser(action, help=what)
        changing.add_argument("id", metavar="ID", help="the key's id, jwt:ISSUER:SUBJECT or san:IDENTITY")
        changing.add_argument("--reason", required=True, metavar="TEXT", help="why, for the audit log")
        add_arguments(changing)
        changing.set_defaults(do=_change)
    return parser


def _name(text: str) -> str:
    if not re.match(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name: a letter, then letters, digits, `.`, `_` and `-`")
    return text


def _scopes(text: str) -> tuple[str, ...]:
    scopes = tuple(dict.fromkeys(text.split(",")))
    unknown = [scope for scope in scopes if scope not in KNOWN_SCOPES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no scope; there are {', '.join(KNOWN_SCOPES)}")
    return scopes


def _new(options: argparse.Namespace) -> int:
    if options.not_after is not None and units.moment_unix_s(options.not_after) <= time.time():
        print(f"penstock key: warning: {options.not_after} is past, so this key never works", file=sys.stderr)
    key = new_key()
    entry: dict[str, Any] = {
        "id": options.id or f"key-{key.split('_')[1]}",
        "sha256": sha256_hex(key),
        "scopes": list(options.scopes),
    }
    entry |= {
        name: written
        for name, written in (("not_before", options.not_before), ("not_after", options.not_after))
        if written is not None
    }
    if options.json:
        print(json.dumps({"key": key, "tenant": options.tenant, "entry": entry}, indent=2))
        return 0
    print(f"{key}\n\nIt is shown this once: the mesh keeps its digest alone. Give it to its user, and put this under")
    print(f"`keys:` in tenants/{options.tenant}.yaml; a key that it replaces may stay beside it for a while.\n")
    print("\n".join(_yaml_lines(entry)))
    return 0


def _yaml_lines(entry: dict[str, Any]) -> list[str]:
    """Write an entry as it stands in a tenant's file; no value of it needs quotes, but moments look like dates."""
    lines = [f"  - id: {entry['id']}", f"    sha256: {entry['sha256']}", f"    scopes: [{', '.join(entry['scopes'])}]"]
    return lines + [f'    {name}: "{entry[name]}"' for name in ("not_before", "not_after") if name in entry]


def _list(options: argparse.Namespace) -> int:
    target = find(options, os.environ, Path.home())
    answer = ask(target, _PATH)
    report = decoded(target, _PATH, answer, KeysReport)
    print(answer.decode() if options.json else describe(report))
    return 0


def describe(report: KeysReport) -> str:
    """Return the keys for people."""
    if not report.keys:
        return "no tenant has an API key: make one with `penstock key new --tenant NAME`"
    head = ("KEY", "TENANT", "OWNER", "STATE", "SCOPES", "NOT AFTER", "LAST USED")
    never = f"not since {report.used_since}"
    rows = [
        (key.id, key.tenant, key.owner, key.state, " ".join(key.scopes), key.not_after, key.last_used_at or never)
        for key in report.keys
    ]
    parts = [table(head, rows), "\n".join(_revocations(report))]
    return "\n\n".join(part for part in parts if part)


def _revocations(report: KeysReport) -> list[str]:
    revoked = [(key.id, key.revocation) for key in report.keys if key.revocation is not None]
    revoked += [(other.id, other.revocation) for other in report.other_revocations]
    return [f"{id_} was revoked at {one.at} by {one.by}: {printable(one.reason)}" for id_, one in revoked]


def _change(options: argparse.Namespace) -> int:
    target = find(options, os.environ, Path.home())
    path = f"{_PATH}/{quote(options.id, safe=':')}/{options.action}"
    answer = change(target, "POST", path, {"reason": options.reason})
    done = decoded(target, path, answer, RevokedReport)
    if options.json:
        print(answer.decode())
        return 0
    if not done.changed:
        print(f"nothing to do: {done.id} {'is revoked already' if done.is_revoked else 'was not revoked'}")
    else:
        print(f"{done.id} {'is refused from now on' if done.is_revoked else 'is used again as policy says'}")
    return 0
