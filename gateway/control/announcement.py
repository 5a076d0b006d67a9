"""Announcement: where a running mesh is reached, in the files by which commands find it."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.control import runtime_file
from gateway.control.events import Say
from gateway.control.listeners import Listeners
from gateway.control.runtime_file import RunningMesh
from gateway.control.view import utc
from telemetry.logs.line import warning


class Announcement:
    """Two files: one in the state directory, and one where this user's commands look.

    Args:
        found_in: where this user's commands look.
        started_at_s: Unix seconds.
    """

    def __init__(
        self, state: Path, found_in: Path, listeners: Listeners, token: str, started_at_s: float, say: Say
    ) -> None:
        self._state = state
        self._paths = (state / runtime_file.FILE_NAME, found_in)
        self._listeners = listeners
        self._token = token
        self._started_at_s = started_at_s
        self._say = say

    def publish(self) -> RunningMesh:
        """Write both files anew, and return what they say."""
        mesh = self._running_mesh()
        for path in self._paths:
            self._publish(path, mesh)
        return mesh

    def withdraw(self) -> None:
        """Remove both files, unless they are another mesh's."""
        for path in self._paths:
            runtime_file.withdraw(path, os.getpid())

    def _running_mesh(self) -> RunningMesh:
        inference, management, metrics = (
            # Commands and dashboards of this machine have no certificate to show.
            min(listeners, key=lambda listener: listener.asks_for_certificates, default=None)
            for listeners in (self._listeners.inference, self._listeners.management, self._listeners.metrics)
        )
        return RunningMesh(
            pid=os.getpid(),
            inference=inference.url if inference else "",
            management=management.url if management else "",
            token=self._token,
            state_dir=str(self._state),
            started_at=utc(self._started_at_s),
            metrics=metrics.url if metrics else "",
            inference_grpc=next((one.address for one in self._listeners.inference_grpc), ""),
            certificate=management.certificate.pem if management and management.certificate else "",
        )

    def _publish(self, path: Path, mesh: RunningMesh) -> None:
        other = runtime_file.named_instead(path, mesh)
        if other is not None:
            self._say(
                f"{path} names the mesh of {other.state_dir} (pid {other.pid}), which runs: commands for this one "
                f"need `--state {self._state}`"
            )
            return
        try:
            runtime_file.publish(path, mesh)
        except OSError as error:
            self._say(warning(f"{path} cannot be written, so commands need `--state {self._state}`: {error.strerror}"))
