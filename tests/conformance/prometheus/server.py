"""Debian's Prometheus as a process of a test: on loopback, in a folder of its own, gone afterwards."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ports import free_port

_STARTS_WITHIN_S = 180.0


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what it answers to a POST.

        Raises:
            AssertionError: it refuses, with what it says.
        """
        body = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self.url}{path}", body, timeout=60) as answer:  # noqa: S310 - loopback
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{parameters}: {refused.read().decode()}") from refused

    def read(self, path: str) -> Any:
        """Return what it answers to a GET."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=60) as answer:  # noqa: S310 - loopback
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:  # noqa: S310 - loopback
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def running(folder: Path, configuration: str | None = "global: {}\n") -> Iterator[Prometheus]:
    """Run one upon the blocks in a folder; it scrapes what its configuration says (None: the folder has it)."""
    config = folder / "prometheus.yml"
    if configuration is not None:
        config.write_text(configuration)
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address={address}",
        "--log.level=error",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        server = Prometheus(f"http://{address}")
        deadline_s = time.monotonic() + _STARTS_WITHIN_S
        while not server.is_ready():
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            assert time.monotonic() < deadline_s, "Prometheus is not ready"
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(30)
