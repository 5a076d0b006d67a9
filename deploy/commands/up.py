"""``penstock up``: runs a whole mesh on this machine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import resources
from pathlib import Path


def run(arguments: Sequence[str]) -> int:
    """Run the mesh until it is told to stop."""
    parser = argparse.ArgumentParser(
        prog="penstock up",
        description="Start the gateway and every pod that the policy names, keep them running, drain them on Ctrl-C.",
    )
    state, store = Path(".penstock/state"), Path(".penstock/models")
    parser.add_argument("--policies", type=Path, default=demo_policies(), metavar="DIR", help="default: policies/demo")
    parser.add_argument("--state", type=Path, default=state, metavar="DIR", help=f"keys, sockets; default: {state}")
    parser.add_argument("--model-store", type=Path, default=store, metavar="DIR", help=f"archives; default: {store}")
    parser.add_argument("--workers", type=_worker_count, metavar="N", help="gateway workers; default: one per core")
    parser.add_argument(
        "--log-format", choices=("text", "json"), help="of events; default: what mesh.yaml says, or text"
    )
    options = parser.parse_args(arguments)

    from deploy.local.up import run_up  # a wrong argument is answered without it

    return run_up(options.policies, options.state, options.model_store, options.workers, options.log_format)


def demo_policies() -> Path:
    """Return the demo's policy directory: the one at hand, else the one that was installed."""
    here = Path("policies/demo")
    return here if here.is_dir() else Path(str(resources.files("policies") / "demo"))


def _worker_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers: write 1 or more")
    return int(text)
