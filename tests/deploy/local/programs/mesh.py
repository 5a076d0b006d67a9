"""The true mesh around the stand-ins for the gateway, the pods, the sidecars and the hub."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from deploy.local import mesh
from deploy.local.events import EventLog

PROGRAMS = "tests.deploy.local.programs"


async def run(config: mesh.MeshConfig, log: EventLog) -> int:
    """Run the mesh."""
    return await mesh.Mesh(config, log).run()


def main() -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--kill-after-s", type=float, default=mesh.KILL_AFTER_S)
    options = parser.parse_args()
    mesh.KILL_AFTER_S = options.kill_after_s
    config = mesh.MeshConfig(
        policies=options.directory / "policies",
        state=options.directory / "state",
        model_store=options.directory / "models",
        workers=None,
        key="msk_key",
        gateway_program=(sys.executable, "-m", f"{PROGRAMS}.gateway"),
        pod_program=(sys.executable, "-m", f"{PROGRAMS}.pod"),
        sidecar_program=(sys.executable, "-m", f"{PROGRAMS}.side"),
        hub_program=(sys.executable, "-m", f"{PROGRAMS}.side"),
    )
    log = EventLog()
    try:
        return asyncio.run(run(config, log))
    finally:
        log.close()


if __name__ == "__main__":
    sys.exit(main())
