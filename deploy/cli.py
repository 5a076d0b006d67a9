"""``penstock``: finds the command and imports only what that command needs."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


@dataclass(frozen=True, slots=True)
class Command:
    """One word after ``penstock``.

    Attributes:
        module: where it lives. A command's module has ``run(arguments) -> exit code``.
        is_program: the module is one process of the mesh, whose ``__main__`` has ``main(arguments) -> exit code``.
    """

    summary: str
    module: str
    is_program: bool = False


COMMANDS: dict[str, Command] = {
    "up": Command("run a whole mesh on this machine until Ctrl-C", "deploy.commands.up"),
    "gateway": Command("run the gateway alone: its supervisor and workers", "gateway.control", is_program=True),
    "pod": Command("run one pod alone", "model_pod.server", is_program=True),
    "sidecar": Command("run one pod's sidecar alone", "telemetry.sidecar", is_program=True),
    "hub": Command("keep traces and show them in the browser, alone", "telemetry.hub", is_program=True),
    "policy": Command("check, test, plan, explain, format or seal policy files", "deploy.commands.policy"),
    "top": Command("watch models, pods and alerts live in the terminal", "deploy.commands.top"),
    "status": Command("show how the running mesh does", "deploy.commands.status"),
    "rollout": Command("show canaries, and pause, promote or roll one back", "deploy.commands.rollout"),
    "restart": Command("replace the gateway's workers without losing a request", "deploy.commands.restart"),
    "key": Command("make, list and revoke API keys", "deploy.commands.key"),
    "quota": Command("show quotas, and add to one for a while", "deploy.commands.quota"),
    "audit": Command("show who changed what, and prove that the record of it is whole", "deploy.commands.audit"),
    "shadow": Command("compare a version with the one that answers, unseen by callers", "deploy.commands.shadow"),
    "samples": Command("show inputs and outputs that policy has kept, and remove them", "deploy.commands.samples"),
    "slo": Command("show objectives: budgets, burn rates and alerts", "deploy.commands.slo"),
    "drift": Command("show how far inputs and outputs have moved", "deploy.commands.drift"),
    "log": Command("show the level of logs, and change it for a while", "deploy.commands.log"),
    "trace": Command("show where one request's time went", "deploy.commands.trace"),
    "model": Command("list the models that the running mesh serves", "deploy.commands.model"),
    "version": Command("print the version", "deploy.commands.version"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return 0 when all is well, 1 when a check failed, 2 for a mistake in the arguments."""
    try:
        options = _parser().parse_args(_named(sys.argv[1:] if argv is None else argv))
        return run_command(options.command, options.arguments)
    except SystemExit as leaving:
        return _exit_code(leaving)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted (`penstock status | head -1`). Python flushes once more at its end: to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


def _named(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a command first: everybody tries ``--version``."""
    return ["version", *arguments[1:]] if arguments[:1] == ["--version"] else list(arguments)


def _parser() -> argparse.ArgumentParser:
    width = max(len(name) for name in COMMANDS)
    summaries = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="penstock",
        description="A serving mesh for PyTorch models.",
        epilog=f"commands:\n{summaries}\n\n`penstock COMMAND --help` says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="the same as the command version")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="what to do")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="what it takes")
    return parser


def run_command(name: str, arguments: list[str]) -> int:
    """Run one command with what follows its name; return its exit code."""
    command = COMMANDS[name]
    if command.is_program:
        code: int = importlib.import_module(f"{command.module}.__main__").main(arguments)
    else:
        code = importlib.import_module(command.module).run(arguments)
    return code


def _exit_code(leaving: SystemExit) -> int:
    if leaving.code is None or isinstance(leaving.code, int):
        return leaving.code or 0
    print(leaving.code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
