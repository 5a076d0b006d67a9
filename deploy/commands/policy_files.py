"""Finds the policies that a command tries: a directory's, or those of the mesh that runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from msgspec.structs import replace

from gateway.control import last_good
from gateway.control.runtime_file import read_running, runtime_path
from gateway.trial.policy_tests import failures
from policies.errors import PolicyRefused
from policies.load import load_directory
from policies.snapshot.generation import Snapshot

RUNNING = "running"


class NoPolicyThere(Exception):
    """There is no policy to try; the message says why, and how to name one.

    Attributes:
        code: what the command exits with.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def load_tested(directory: str) -> Snapshot:
    """Return a directory's policy, as the gateway would take it.

    Raises:
        PolicyRefused: it is not valid, or one of its tests fails.
    """
    snapshot = load_directory(directory)
    failed = failures(snapshot)
    if failed:
        raise PolicyRefused(failed)
    return snapshot


def read_directory(directory: str, *, is_tested: bool = True) -> Snapshot:
    """Return a directory's policy.

    Raises:
        NoPolicyThere: it is none; every error has its line.
    """
    if not Path(directory).is_dir():
        raise NoPolicyThere(f"{directory} is not a directory; name the one that holds mesh.yaml", 2)
    try:
        return load_tested(directory) if is_tested else load_directory(directory)
    except PolicyRefused as refused:
        placed = (replace(error, file=os.path.normpath(f"{directory}/{error.file}")) for error in refused.errors)
        raise NoPolicyThere("\n".join(map(str, placed)), 1) from refused


def running_state(state: Path | None) -> Path | None:
    """Return the state directory that is named, else that of this user's running mesh, else None."""
    if state is not None:
        return state
    running = read_running(runtime_path(os.environ, Path.home()))
    return Path(running.state_dir) if running is not None else None


def in_force(state: Path | None) -> Snapshot:
    """Return the policy in force of the mesh of a state directory.

    Raises:
        NoPolicyThere: no mesh runs, or nothing is kept there.
    """
    if state is None:
        raise NoPolicyThere("no mesh is running: name one with --state, or name a policy directory", 1)
    kept = last_good.recall(state)
    if kept is None:
        raise NoPolicyThere(f"no policy has been in force in {state}", 1)
    return kept.snapshot


def tell(command: str, error: NoPolicyThere) -> int:
    """Say why there is nothing to try, and return the exit code."""
    print(f"penstock policy {command}: {error}", file=sys.stderr)
    return error.code
