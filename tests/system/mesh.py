"""A whole mesh for a test: ``penstock up`` in a session of its own, what it says, its processes and its end."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec
import pytest

from gateway.control.runtime_file import FILE_NAME, RunningMesh
from tests.demo_policies import lay_out_digits
from tests.system import processes

ROOT = Path(__file__).parents[2]
# Bounds for a test that would hang; what is measured within them is printed, not judged.
SOON_S = 180.0
ENDED_WITHIN_S = 30.0
_LOOK_EVERY_S = 0.02
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Line:
    """One line that the mesh printed; the moment is monotonic."""

    at_s: float
    text: str


class Said:
    """Everything that a mesh prints, taken by a thread so that it never has to wait for the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[Line] = []
        self._process = process
        self._news = threading.Condition()
        self._has_ended = False
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._news:
                    self.lines.append(Line(time.monotonic(), line.rstrip("\n")))
                    self._news.notify_all()
        with self._news:
            self._has_ended = True
            self._news.notify_all()

    def line(self, pattern: str, *, after_s: float = 0.0, within_s: float = SOON_S) -> Line:
        """Return the first line from that moment on in which the pattern is found, waiting for it."""
        give_up_s = time.monotonic() + within_s
        with self._news:
            while True:
                for line in self.lines:
                    if line.at_s >= after_s and re.search(pattern, line.text):
                        return line
                assert not self._has_ended, f"the mesh ended without a line like {pattern!r}:\n{self}"
                waited = self._news.wait(give_up_s - time.monotonic())
                assert waited, f"no line like {pattern!r} within {within_s:g} s:\n{self}"

    def since(self, after_s: float, pattern: str = "") -> list[str]:
        """Return the lines so far from that moment on in which the pattern is found."""
        with self._news:
            return [line.text for line in self.lines if line.at_s >= after_s and re.search(pattern, line.text)]

    def until_end(self) -> None:
        """Wait for the last line."""
        self._thread.join(SOON_S)

    def __str__(self) -> str:
        return "\n".join(line.text for line in self.lines)


class MeshUnderTest:
    """A mesh that runs, with its directories; ``key``, addresses and the curl line are known once it is ready.

    Attributes:
        started_s: when its process was started (monotonic).
        session: its process session, which is also the process id of ``penstock up``.
    """

    def __init__(self, home: Path, store: Path, policies: Mapping[str, str], workers: int) -> None:
        self.policies, self.state, self.store = home / "policies", home / "state", store
        self._home = home
        self._api: httpx.Client | None = None
        lay_out_policies(self.policies, policies)
        (home / "run").mkdir(mode=0o700)
        self.started_s = time.monotonic()
        self._process = self._start(workers)
        self.session = self._process.pid
        self.said = Said(self._process)

    def _start(self, workers: int) -> subprocess.Popen[str]:
        places = ("--policies", self.policies, "--state", self.state, "--model-store", self.store)
        return subprocess.Popen(
            [Path(sys.executable).with_name("penstock"), "up", *places, "--workers", str(workers)],
            cwd=self._home,
            env={**os.environ, "XDG_RUNTIME_DIR": str(self._home / "run")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    # --- what it told

    def published(self) -> RunningMesh:
        """Return the addresses and the token, waiting until they are published."""
        path = self.state / FILE_NAME
        eventually(path.exists, "the mesh publishes its addresses")
        return msgspec.json.decode(path.read_bytes(), type=RunningMesh)

    @property
    def key(self) -> str:
        """The key that it printed."""
        return self.said.line("^key ").text.split()[1]

    @property
    def inference(self) -> str:
        """The URL of the inference API that it printed."""
        return self.said.line("^inference ").text.split()[1]

    @property
    def curl(self) -> str:
        """The command that it printed, alone on one line."""
        return self.said.line("^curl ").text

    def wait_until_ready(self) -> None:
        """Wait for the line that it ends its start with."""
        self.said.line("^curl ")

    # --- asking it

    @property
    def api(self) -> httpx.Client:
        """A client of the inference API, with the printed key."""
        if self._api is None:
            self._api = httpx.Client(
                base_url=self.inference,
                headers={"authorization": f"Bearer {self.key}"},
                timeout=SOON_S,
                trust_env=False,
            )
        return self._api

    def admin(self, path: str) -> Any:
        """Return what the management API answers."""
        mesh = self.published()
        headers = {"authorization": f"Bearer {mesh.token}"}
        answer = self.api.get(f"{mesh.management}/admin/{path}", headers=headers)
        answer.raise_for_status()
        return answer.json()

    def pod(self, name: str) -> dict[str, Any]:
        """Return one pod as the management API sees it."""
        pods: list[dict[str, Any]] = self.admin("pods")["pods"]
        return next(pod for pod in pods if pod["name"] == name)

    def pids(self, title: str) -> list[int]:
        """Return the processes of this mesh whose title matches."""
        return [pid for pid, its in processes.of_session(self.session).items() if re.fullmatch(title, its)]

    # --- its end

    def signal(self, number: signal.Signals) -> None:
        """Send a signal as a terminal does: to the foreground group, which is ``penstock up`` alone."""
        os.killpg(self.session, number)

    def wait_for_end(self) -> int:
        """Return the exit status."""
        status = self._process.wait(ENDED_WITHIN_S + SOON_S)
        self.said.until_end()
        return status

    def stop(self) -> float:
        """Press Ctrl-C, check that it ends well and leaves no process, and return how many seconds that took."""
        asked_s = time.monotonic()
        if self._process.poll() is None:
            self.signal(signal.SIGINT)
        assert self.wait_for_end() == 0, f"penstock up failed:\n{self.said}"
        took_s = time.monotonic() - asked_s
        assert processes.of_session(self.session) == {}
        return took_s

    def destroy(self) -> None:
        """End what is left of it, and print what it said, which pytest shows for a test that failed."""
        if self._api is not None:
            self._api.close()
        processes.destroy_session(self.session)
        self.wait_for_end()
        print(self.said)


@contextmanager
def started_mesh(
    home: Path, store: Path, *, policies: Mapping[str, str] = NOTHING, workers: int = 2
) -> Iterator[MeshUnderTest]:
    """Start a mesh, ready or not, and stop it with Ctrl-C at the end.

    Args:
        policies: files beside those of the demo, or in their place, by path inside the directory.
    """
    mesh = MeshUnderTest(home, store, policies, workers)
    try:
        yield mesh
        mesh.stop()
    finally:
        mesh.destroy()


@contextmanager
def running_mesh(
    home: Path, store: Path, *, policies: Mapping[str, str] = NOTHING, workers: int = 2
) -> Iterator[MeshUnderTest]:
    """Start a mesh and wait until it is ready."""
    with started_mesh(home, store, policies=policies, workers=workers) as mesh:
        mesh.wait_until_ready()
        yield mesh


def lay_out_policies(directory: Path, files: Mapping[str, str]) -> None:
    """Copy the demo's policies for digits, with ports that nobody else has, and write the given files over them."""
    lay_out_digits(directory)
    if any(name.startswith(("tenants/", "limits")) for name in files):
        shutil.rmtree(directory / "tests")  # what they say of the demo's tenants does not hold of these
    for name, content in files.items():
        (directory / name).write_text(content)


def files_below(folder: Path) -> dict[Path, bytes]:
    """Return the content of every file there; one that is replaced or removed meanwhile is left out."""
    found: dict[Path, bytes] = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):
                if path.is_file():
                    found[path] = path.read_bytes()
    return found


def demo_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the demo's archives, made once for all processes of a test run; not to be written to."""
    home = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        home = home.parent
    store = home / "demo-models"
    with (home / "demo-models.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not store.exists():
            building = store.with_name(f"{store.name}-building")
            subprocess.run([sys.executable, "-m", "deploy.demo", "build", building], check=True, capture_output=True)
            building.rename(store)
    return store


def eventually(is_true: Callable[[], object], what: str, *, within_s: float = SOON_S) -> float:
    """Wait until it is true; return the monotonic moment."""
    give_up_s = time.monotonic() + within_s
    while not is_true():
        assert time.monotonic() < give_up_s, f"not within {within_s:g} s: {what}"
        time.sleep(_LOOK_EVERY_S)
    return time.monotonic()
