"""Asks the running mesh where its canaries stand, for trials of policy."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from deploy.commands.running_mesh import NotReachable, find, read
from gateway.control.rollout_reports import RolloutReport, RolloutsReport
from gateway.decide.stage import Stage
from policies.snapshot.generation import Snapshot

PATH = "/admin/rollouts"


def running_stages(snapshot: Snapshot, state: Path | None) -> dict[str, Stage]:
    """Return where the canaries of the policy in force stand, by model; nothing where no mesh answers.

    Args:
        state: its state directory; None for this user's mesh.
    """
    if all(route.canary is None for route in snapshot.routes.values()):
        return {}
    local = argparse.Namespace(state=state, server=None, token_file=None, ca=None, cert=None)
    try:
        told = read(find(local, os.environ, Path.home()), PATH, RolloutsReport)
    except NotReachable:
        return {}
    return {rollout.model: stage_of(rollout) for rollout in told.rollouts}


def stage_of(rollout: RolloutReport) -> Stage:
    """Return where a rollout stands; whether it is over decides no version."""
    return Stage(rollout.model, rollout.canary, rollout.version, rollout.revision, rollout.step, rollout.share)
