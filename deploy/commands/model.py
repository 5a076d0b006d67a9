"""``penstock model list``: lists the models that the running mesh serves."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.commands.running_mesh import NotReachable, add_arguments, find, read
from deploy.commands.table import table
from gateway.control.reports import PodsReport


class ServedVersion(Struct, frozen=True):
    """One version of a model as the running mesh serves it.

    Attributes:
        is_stable: it answers requests that ask for no other.
        pods: how many should run.
        ready_pods: how many answer now.
        archive: "" for pods that somebody else runs.
    """

    model: str
    version: str
    is_stable: bool
    pods: int
    ready_pods: int
    archive: str


def run(arguments: Sequence[str]) -> int:
    """Print the models; 1 when the mesh cannot be asked."""
    parser = argparse.ArgumentParser(prog="penstock model", description="Models of the running mesh.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_arguments(actions.add_parser("list", help="list models, their versions and how many pods are ready"))
    options = parser.parse_args(arguments)
    try:
        target = find(options, os.environ, Path.home())
        versions = served_versions(read(target, "/admin/pods", PodsReport))
    except NotReachable as error:
        print(f"penstock model list: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.encode({"models": versions}).decode() if options.json else describe(versions))
    return 0


def served_versions(report: PodsReport) -> list[ServedVersion]:
    """Return every version that has pods or should be stable, by model and version."""
    stable = {(one.model, one.version) for one in report.stable_versions}
    names = sorted(stable | {(pod.model, pod.version) for pod in report.pods})
    versions = []
    for model, version in names:
        pods = [pod for pod in report.pods if (pod.model, pod.version) == (model, version)]
        ready = sum(pod.state == "ready" for pod in pods)
        archive = next((pod.archive for pod in pods if pod.archive), "")
        versions.append(ServedVersion(model, version, (model, version) in stable, len(pods), ready, archive))
    return versions


def describe(versions: Sequence[ServedVersion]) -> str:
    """Return the list for people."""
    if not versions:
        return "the mesh serves no model: add a file to the routes/ of its policy directory"
    head = ("MODEL", "VERSION", "STABLE", "READY", "ARCHIVE")
    return table(
        head,
        [
            (v.model, v.version, "yes" if v.is_stable else "no", f"{v.ready_pods} of {v.pods}", v.archive or None)
            for v in versions
        ],
    )
