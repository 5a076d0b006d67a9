"""``penstock slo export``: writes what other tools need of a policy's objectives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from deploy.commands.policy_files import NoPolicyThere, read_directory
from deploy.commands.up import demo_policies
from deploy.grafana.provisioning import grafana_files
from deploy.prometheus.alertmanager import ALERTMANAGER_FILE, alertmanager
from deploy.prometheus.openslo import OPENSLO_FILE, openslo
from deploy.prometheus.promtool import TESTS_FILE, rule_tests
from deploy.prometheus.rule import Places
from deploy.prometheus.rule_file import RULES_FILE, rules, used_objectives
from policies.snapshot.generation import Snapshot, objectives_by_model
from telemetry.slo.links import pages_of

Files = dict[str, bytes]


def exported(what: str, snapshot: Snapshot, places: Places) -> Files:
    """Return the files of one kind by name."""
    return _KINDS[what](snapshot, places)


def run(arguments: Sequence[str]) -> int:
    """Write the files; 0 unless the policy cannot be read, or they cannot be written."""
    options = _parser().parse_args(arguments)
    try:
        snapshot = read_directory(options.policies, is_tested=False)
    except NoPolicyThere as missing:
        print(f"penstock slo export: {missing}", file=sys.stderr)
        return missing.code
    files = exported(options.what, snapshot, _places(snapshot, options))
    return _printed(files) if options.to is None else _written(files, options.to)


def _parser() -> argparse.ArgumentParser:
    usual = Places()
    parser = argparse.ArgumentParser(
        prog="penstock slo export",
        description="Write rules, their tests, routes of alerts, OpenSLO documents or dashboards from policy files.",
    )
    parser.add_argument("what", choices=_KINDS, metavar="|".join(_KINDS), help="for which tool")
    parser.add_argument("--policies", default=str(demo_policies()), metavar="DIR", help="default: policies/demo")
    parser.add_argument("--to", type=Path, metavar="DIR", help="write files there; printed without it, if it is one")
    parser.add_argument("--runbooks", metavar="URL", help=f"default: what mesh.yaml names, else {usual.runbooks}")
    parser.add_argument(
        "--hub", metavar="URL", help=f"the mesh's pages; default: what mesh.yaml says, else {usual.hub}"
    )
    return parser


def _places(snapshot: Snapshot, options: argparse.Namespace) -> Places:
    runbooks = options.runbooks or snapshot.mesh.alerts.runbooks or Places().runbooks
    hub = options.hub or pages_of(snapshot.mesh) or Places().hub
    return Places(snapshot.mesh.name, runbooks.rstrip("/"), hub.rstrip("/"))


def _printed(files: Files) -> int:
    if len(files) > 1:
        print("penstock slo export: these are several files; say where with --to DIR", file=sys.stderr)
        return 2
    for text in files.values():
        sys.stdout.write(text.decode())
    return 0


def _written(files: Files, folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_bytes(text)
            print(folder / name)
    except OSError as error:
        print(f"penstock slo export: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _rules(snapshot: Snapshot, places: Places) -> Files:
    return {RULES_FILE: rules(used_objectives(snapshot), places).encode()}


def _rule_tests(snapshot: Snapshot, _: Places) -> Files:
    model_of = {one.name: model for model, own in objectives_by_model(snapshot).items() for one in own}
    return {TESTS_FILE: rule_tests(used_objectives(snapshot), model_of).encode()}


def _alertmanager(_: Snapshot, __: Places) -> Files:
    return {ALERTMANAGER_FILE: alertmanager().encode()}


def _openslo(snapshot: Snapshot, _: Places) -> Files:
    return {OPENSLO_FILE: openslo(snapshot).encode()}


def _grafana(_: Snapshot, __: Places) -> Files:
    return grafana_files()


_KINDS: Final[dict[str, Callable[[Snapshot, Places], Files]]] = {
    "prometheus": _rules,
    "promtool": _rule_tests,
    "alertmanager": _alertmanager,
    "openslo": _openslo,
    "grafana": _grafana,
}
