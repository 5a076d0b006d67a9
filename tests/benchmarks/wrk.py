"""wrk, a load client in C: where it is installed it drives the closed loops, so that the load is not the limit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from tests.benchmarks.heads import Requests

SCRIPT = Path(__file__).with_name("requests.lua")
_ENDS_WITHIN_S = 30.0


class Said(msgspec.Struct, frozen=True):
    """What wrk saw.

    Attributes:
        requests: whole answers, whatever they said.
        failed: errors of connections, answers too late, and answers with a status of 400 or more.
    """

    requests: int
    took_us: int
    failed: int
    p50_us: int
    p99_us: int


class WrkFailed(Exception):
    """wrk said nothing that can be read."""


def find_wrk() -> str | None:
    """Return the program, None where it is not installed."""
    return shutil.which("wrk")


def command(program: str, address: str, requests: Requests, connections: int, duration_s: int) -> list[str]:
    """Return the command line of one slice."""
    return [
        *(program, "--threads", "1", "--connections", str(connections), "--duration", f"{duration_s}s"),
        *("--timeout", "10s", "--script", str(SCRIPT), f"http://{address.removeprefix('http://')}", "--"),
        *(requests.path, str(requests.path_count), requests.key, str(requests.key_count), str(requests.body_bytes)),
    ]


def drive(program: str, address: str, requests: Requests, connections: int, duration_s: int) -> Said:
    """Keep so many connections busy for so long.

    Raises:
        WrkFailed: it ended without figures.
    """
    line = command(program, address, requests, connections, duration_s)
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=duration_s + _ENDS_WITHIN_S)
    return read(done.stdout, done.stderr)


def read(output: str, errors: str = "") -> Said:
    """Read what the script says at the end.

    Raises:
        WrkFailed: it is not there.
    """
    try:
        return msgspec.json.decode(output.rstrip().rpartition("\n")[2], type=Said)
    except msgspec.DecodeError:
        raise WrkFailed(f"wrk ended without figures: {errors or output}") from None
