"""The hub of a local mesh: when there is one, where it listens, and the command that runs it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from deploy.local.sidecars import HUB_SOCKET, TARGETS_FILE
from gateway.control.runtime_file import FILE_NAME as MESH_FILE
from policies.listeners import is_loopback
from policies.snapshot.mesh import Listen

PROGRAM = (sys.executable, "-m", "telemetry.hub")
HUB_FILE = "hub.json"
STORE = "traces"
HUB_TOKEN = "hub-token"  # noqa: S105 - the file's name
OTLP_TOKEN = "otlp-token"  # noqa: S105 - the file's name


class RunningHub(Struct, frozen=True):
    """What a running hub publishes of itself.

    Attributes:
        dashboards: URL of the pages.
        otlp: URL of its OTLP receiver, "" when it has none but its socket.
        otlp_grpc: the same for gRPC.
    """

    pid: int
    dashboards: str
    otlp: str = ""
    otlp_grpc: str = ""


def hub_argv(
    listen: Iterable[Listen], state: Path, lifeline_fd: int, program: tuple[str, ...] = PROGRAM
) -> list[str] | None:
    """Return the command of the hub; None where policy lists no address for its pages."""
    addresses = {one.serves: one.address for one in listen}
    if "dashboards" not in addresses:
        return None
    return [
        *program,
        *("--listen", addresses["dashboards"]),
        *(("--otlp", addresses["otlp"]) if "otlp" in addresses else ()),
        # Made, and asked for, where others reach the pages.
        *(() if is_loopback(host_of(addresses["dashboards"])) else ("--token-file", str(state / HUB_TOKEN))),
        *(("--otlp-grpc", addresses["otlp-grpc"]) if "otlp-grpc" in addresses else ()),
        *("--otlp-token-file", str(state / OTLP_TOKEN)),  # made and asked for where others reach that address
        *("--otlp-unix", str(state / HUB_SOCKET)),
        *("--store", str(state / STORE), "--mesh", str(state / MESH_FILE), "--publish", str(state / HUB_FILE)),
        *("--sidecars", str(state / TARGETS_FILE)),
        *("--lifeline-fd", str(lifeline_fd)),
    ]


def host_of(address: str) -> str:
    """Return the host of an address of policy."""
    return address.rpartition(":")[0]


def dashboards_address(listen: Iterable[Listen]) -> str | None:
    """Return the address that policy lists for the hub's pages, and with it for the hub; None where it lists none."""
    return next((one.address for one in listen if one.serves == "dashboards"), None)


def running_hub(state: Path) -> RunningHub | None:
    """Return what the hub published; None when it has not."""
    try:
        return msgspec.json.decode((state / HUB_FILE).read_bytes(), type=RunningHub)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
