"""``penstock up``: prepares the state directory, then runs the mesh until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from setproctitle import setproctitle

from deploy.local.events import EventLog
from deploy.local.lock import AlreadyRunning, take_lock
from deploy.local.mesh import Mesh, MeshConfig
from deploy.local_key import local_key
from gateway.control.state_dir import StateRefused, prepare
from telemetry.logs.line import Format
from telemetry.logs.log import FORMAT_VARIABLE, SETTINGS_VARIABLE
from telemetry.logs.settings import FILE_NAME as LOG_SETTINGS


def run_up(
    policies: Path, state: Path, model_store: Path, workers: int | None, log_format: Format | None = None
) -> int:
    """Run a mesh in the foreground; return the exit code once everything has stopped."""
    setproctitle("penstock up")
    _say_to_children_how_to_log(state)
    if not policies.is_dir():
        return _refuse(f"there is no policy directory {policies}: name one with --policies")
    try:
        state_dir = prepare(state)
        lock = take_lock(state_dir)
    except (StateRefused, AlreadyRunning) as refusal:
        return _refuse(str(refusal))
    try:
        model_store.mkdir(parents=True, exist_ok=True)
        key = local_key(state_dir)
    except OSError as error:
        return _refuse(
            f"{error.filename} cannot be written ({error.strerror}): choose others with --state, --model-store"
        )
    config = MeshConfig(policies.absolute(), state_dir, model_store.absolute(), workers, key)
    try:
        return _run(config, log_format)
    finally:
        os.close(lock)


def _say_to_children_how_to_log(state: Path) -> None:
    """Have every process of the mesh, and theirs, tell what happens as JSON, which is shown here as people want it."""
    os.environ[FORMAT_VARIABLE] = "json"
    os.environ[SETTINGS_VARIABLE] = str(state.absolute() / LOG_SETTINGS)


def _run(config: MeshConfig, log_format: Format | None) -> int:
    log = EventLog(form=log_format)
    try:
        log.event(f"mesh: starting with policies {config.policies}, state {config.state}, models {config.model_store}")
        return asyncio.run(_run_mesh(config, log))
    finally:
        log.close()


async def _run_mesh(config: MeshConfig, log: EventLog) -> int:
    return await Mesh(config, log).run()


def _refuse(why: str) -> int:
    print(f"penstock up: {why}", file=sys.stderr)
    return 1
