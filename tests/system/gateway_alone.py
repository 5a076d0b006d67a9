"""A gateway as its own process, without ``penstock up``: in front of pods that the test plays itself."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from deploy.local_key import new_key
from gateway.control.runtime_file import FILE_NAME, RunningMesh
from gateway.decide.api_keys import sha256_hex
from tests.demo_policies import lay_out_digits
from tests.fakes.pod import FakePod, Script
from tests.system.processes import destroy_session

SOON_S = 120.0
_LOOK_EVERY_S = 0.02


class GatewayAlone:
    """A supervisor and its workers.

    Attributes:
        pid: of the supervisor.
    """

    def __init__(self, home: Path, pod: FakePod, options: Sequence[str]) -> None:
        self.key = new_key()
        self._state = home / "s"
        policies = home / "policies"
        lay_out_digits(policies)
        route = policies / "routes" / "digits.yaml"
        launched = "{launch: {archive: digits-1.mar, count: 1, device: auto}}"
        text = route.read_text()
        assert launched in text
        route.write_text(text.replace(launched, f'{{static: ["{pod.address}"]}}'))
        command = [sys.executable, "-m", "gateway.control", "--policies", str(policies), "--state", str(self._state)]
        self._said = (home / "said").open("w+")
        self._process = subprocess.Popen(
            [*command, "--local-key-sha256", sha256_hex(self.key), *options],
            env={**os.environ, "XDG_RUNTIME_DIR": str(home)},
            stdin=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
        )
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        """Every event line so far."""
        return Path(self._said.name).read_text()

    def running(self) -> RunningMesh:
        """Return what it publishes."""
        return msgspec.json.decode((self._state / FILE_NAME).read_bytes(), type=RunningMesh)

    @property
    def address(self) -> tuple[str, int]:
        """Where it answers inferences."""
        at = urlsplit(self.running().inference)
        assert at.hostname is not None
        assert at.port is not None
        return at.hostname, at.port

    async def admin(self, path: str, reason: str = "") -> Any:
        """Ask the management API; with a reason, for a change."""
        running = self.running()
        headers = {"authorization": f"Bearer {running.token}"}
        async with httpx.AsyncClient(base_url=running.management, trust_env=False, timeout=SOON_S) as client:
            if reason:
                answer = await client.post(path, headers=headers, json={"reason": reason})
            else:
                answer = await client.get(path, headers=headers)
            answer.raise_for_status()
            return answer.json()

    async def until_said(self, text: str, count: int = 1) -> None:
        """Wait for event lines with a text."""
        async with asyncio.timeout(SOON_S):
            while self.said.count(text) < count:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(_LOOK_EVERY_S)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor alone."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Return the exit status."""
        return await asyncio.to_thread(self._process.wait, SOON_S)

    def destroy(self) -> None:
        """Kill what is left, and print what it said, which is shown for a test that failed."""
        destroy_session(self.pid)
        self._process.wait()
        print(self.said)
        self._said.close()

    def request(self, body: bytes = b"{}", path: str = "/predictions/digits") -> bytes:
        """Return a request for a prediction."""
        lines = [f"POST {path} HTTP/1.1", "host: mesh", f"authorization: Bearer {self.key}"]
        return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


@asynccontextmanager
async def gateway_alone(home: Path, script: Script, *options: str, workers: int = 2) -> AsyncIterator[GatewayAlone]:
    """Run a gateway in front of one scripted pod until the story is over."""
    async with FakePod(home / "pod.sock", script) as pod:
        gateway = GatewayAlone(home, pod, ("--workers", str(workers), *options))
        try:
            await gateway.until_said("accepts requests", workers)
            await gateway.until_said("is ready")
            yield gateway
        finally:
            gateway.destroy()
