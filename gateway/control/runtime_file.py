"""The runtime file: where commands of the same user find the running mesh and its admin token."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.control.state_dir import write_private

FILE_NAME = "mesh.json"


class RunningMesh(Struct, frozen=True):
    """One running mesh.

    Attributes:
        pid: of the supervisor.
        inference: URL of the inference API, "" when it listens nowhere.
        management: URL of the management API, "" when it listens nowhere.
        token: of the management API.
        started_at: UTC, ISO 8601.
        metrics: URL of what Prometheus reads, "" when it listens nowhere.
        certificate: what the management API shows, as PEM; "" for plain HTTP.
        inference_grpc: HOST:PORT of the inference API over gRPC, "" when it listens nowhere.
    """

    pid: int
    inference: str
    management: str
    token: str
    state_dir: str
    started_at: str
    metrics: str = ""
    certificate: str = ""
    inference_grpc: str = ""

    def __repr__(self) -> str:
        """Say nothing of the token."""
        return f"RunningMesh(pid={self.pid}, management={self.management!r}, state_dir={self.state_dir!r})"


def runtime_path(environ: Mapping[str, str], home: Path) -> Path:
    """Return where the file of this user lies."""
    runtime_dir = environ.get("XDG_RUNTIME_DIR", "")
    if runtime_dir.startswith("/"):
        return Path(runtime_dir) / "penstock" / FILE_NAME
    return home / ".penstock" / "run" / FILE_NAME


def read_running(path: Path) -> RunningMesh | None:
    """Return what the running mesh published; None when there is no such file or its process is gone."""
    try:
        mesh = msgspec.json.decode(path.read_bytes(), type=RunningMesh)
        os.kill(mesh.pid, 0)
    except (OSError, OverflowError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return mesh


def named_instead(path: Path, mesh: RunningMesh) -> RunningMesh | None:
    """Return the other running mesh that the file names already, None when it is free for this one."""
    running = read_running(path)
    return running if running is not None and running.state_dir != mesh.state_dir else None


def publish(path: Path, mesh: RunningMesh) -> None:
    """Write the file for its owner alone.

    Raises:
        OSError: the directory cannot be made, or belongs to somebody else.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.geteuid():
        raise PermissionError(1, f"{path.parent} belongs to somebody else")
    path.parent.chmod(0o700)
    write_private(path, msgspec.json.format(msgspec.json.encode(mesh)) + b"\n")


def withdraw(path: Path, pid: int) -> None:
    """Remove the file, unless another mesh has written its own meanwhile."""
    try:
        published = msgspec.json.decode(path.read_bytes(), type=RunningMesh)
        if published.pid == pid:
            path.unlink()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return


def remove_stale(state: Path) -> None:
    """Remove the file of a supervisor that was killed, so that nobody calls where it listened."""
    (state / FILE_NAME).unlink(missing_ok=True)
