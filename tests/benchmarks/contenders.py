"""The proxies that are compared, each started as its users start it, in front of one stub back end."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import stub
from tests.benchmarks.processes import NotStarted, Program, await_answer, free_port, running

PATH = "/predictions/stub"  # forwarded to the stub over TCP
UNIX_PATH = "/predictions/stub-unix"  # forwarded to it over its Unix socket
STARTS_WITHIN_S = 20.0


class Skipped(Exception):
    """A contender cannot take part; the message is the line to print."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where: the proxy has a core to itself."""

    proxy: int
    load: int
    stub: int

    @classmethod
    def choose(cls, allowed: set[int]) -> Cores:
        """Spread over three cores where there are three; with one, everything shares it and figures mean little."""
        first, *others = sorted(allowed)
        load = others[0] if others else first
        return cls(first, load, others[1] if len(others) > 1 else load)

    def __str__(self) -> str:
        return f"proxy on core {self.proxy}, load on core {self.load}, stub on core {self.stub}"


@dataclass(frozen=True, slots=True)
class StubAddress:
    """Where the back end listens."""

    port: int
    socket: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to the stub.

    Attributes:
        address: where the load connects.
        path: what it asks for.
        program: whose CPU is counted, with all that descends from it; None for the stub asked directly.
    """

    name: str
    address: str
    path: str
    program: Program | None


@dataclass(frozen=True, slots=True)
class Started:
    """What runs.

    Attributes:
        skipped: a line for each contender that this machine does not have.
        broken: what each contender said that is here and did not start.
    """

    contenders: list[Contender]
    skipped: list[str]
    broken: list[str]


@contextmanager
def started(cores: Cores, key: str, folder: Path) -> Iterator[Started]:
    """Start the stub and every contender that this machine has; none of them keeps the others from being measured."""
    with ExitStack() as stack:
        behind = StubAddress(free_port(), folder / "stub.sock")
        back_end = stack.enter_context(running_stub(cores, behind, folder))
        found = Started([Contender("no proxy", f"127.0.0.1:{behind.port}", PATH, None)], [], [])
        starts: tuple[Callable[[], AbstractContextManager[list[Contender]]], ...] = (
            lambda: nginx(cores, behind, folder),
            lambda: haproxy(cores, behind, folder),
            lambda: penstock(cores, behind, folder, key),
        )
        for start in starts:
            try:
                found.contenders.extend(stack.enter_context(start()))
            except Skipped as reason:
                found.skipped.append(f"skipped: {reason}")
            except NotStarted as reason:
                found.broken.append(f"did not start: {reason}")
        back_end.must_run()
        yield found


@contextmanager
def running_stub(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[Program]:
    """Start the back end that stands for every pod."""
    arguments = [sys.executable, str(Path(stub.__file__)), str(behind.socket), str(behind.port)]
    with running(arguments, cores={cores.stub}, log=folder / "stub.log") as program:
        await_answer(f"127.0.0.1:{behind.port}", "/v2/health/ready", program)
        yield program


@contextmanager
def nginx(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    """Start nginx as a plain proxy: one worker, kept connections on both sides, no log."""
    program = _installed("nginx", "nginx-light")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_nginx_config(port, behind, folder))
    arguments = [program, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    with running(arguments, cores={cores.proxy}, log=folder / "nginx.log") as process:
        address = f"127.0.0.1:{port}"
        await_answer(address, PATH, process)
        yield [Contender("nginx", address, PATH, process), Contender("nginx, unix socket", address, UNIX_PATH, process)]


def _nginx_config(port: int, behind: StubAddress, folder: Path) -> str:
    # Without `user`, workers of a root's nginx become nobody and may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    places = "\n".join(
        f"  {kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
{places}
  upstream stub {{ server 127.0.0.1:{behind.port}; keepalive 256; keepalive_requests 1000000000; }}
  upstream stub_unix {{ server unix:{behind.socket}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location = {PATH} {{ proxy_pass http://stub; }}
    location = {UNIX_PATH} {{ proxy_pass http://stub_unix; }}
  }}
}}
"""


@contextmanager
def haproxy(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    """Start HAProxy in HTTP mode: one thread, connections to the stub reused, no log."""
    program = _installed("haproxy", "haproxy")
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend load
  bind 127.0.0.1:{port}
  default_backend stub
backend stub
  server stub 127.0.0.1:{behind.port}
""")
    with running([program, "-db", "-f", str(config)], cores={cores.proxy}, log=folder / "haproxy.log") as process:
        await_answer(f"127.0.0.1:{port}", PATH, process)
        yield [Contender("HAProxy", f"127.0.0.1:{port}", PATH, process)]


@contextmanager
def penstock(cores: Cores, behind: StubAddress, folder: Path, key: str) -> Iterator[list[Contender]]:
    """Start our gateway with one worker, keys checked and a rate counted, as its users start it."""
    with running_gateway(cores, behind, folder, key) as (address, process):
        yield [
            Contender("Penstock", address, PATH, process),
            Contender("Penstock, unix socket", address, UNIX_PATH, process),
        ]


@contextmanager
def running_gateway(
    cores: Cores, behind: StubAddress, folder: Path, key: str, options: Sequence[str] = (), policy: str = ""
) -> Iterator[tuple[str, Program]]:
    """Start a gateway in front of the stub and yield its address; its policies and state lie in the folder.

    Args:
        options: of the gateway's command line.
        policy: lines of mesh.yaml.
    """
    policies, state = folder / "policies", folder / "state"
    write_policies(policies, behind, hashlib.sha256(key.encode()).hexdigest(), policy)
    state.mkdir(mode=0o700)
    arguments = [sys.executable, "-m", "gateway.control", "--policies", str(policies), "--state", str(state)]
    with running(
        [*arguments, "--workers", "1", *options],
        cores={cores.proxy},
        log=folder / "penstock.log",
        environ={"XDG_RUNTIME_DIR": str(folder)},  # a mesh that runs here keeps its own runtime file
    ) as process:
        address = _published_address(state / "mesh.json", process)
        await_answer(address, "/readyz", process, STARTS_WITHIN_S)
        yield address, process


def write_policies(folder: Path, behind: StubAddress, key_sha256: str, policy: str = "") -> None:
    """Write a policy directory with one tenant and a route to each of the stub's addresses."""
    files = {
        "mesh.yaml": (
            f"kind: mesh/v1\n{policy}name: bench\nlisten:\n"
            '  - {address: "127.0.0.1:0", serves: inference}\n  - {address: "127.0.0.1:0", serves: admin}\n'
        ),
        "limits.yaml": "kind: limits/v1\ntiers:\n  bench: {rate: 1000000/s}\n",
        "tenants/bench.yaml": (
            "kind: tenant/v1\nname: bench\nowner: bench\ntier: bench\nkeys:\n"
            f'  - {{id: bench, sha256: "{key_sha256}", scopes: [infer]}}\n'
            "may_call: [stub, stub-unix]\n"
        ),
        "routes/stub.yaml": _route("stub", f"127.0.0.1:{behind.port}"),
        "routes/stub-unix.yaml": _route("stub-unix", f"unix:{behind.socket}"),
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _route(model: str, address: str) -> str:
    return (
        f"kind: route/v1\nmodel: {model}\nowner: bench\nversions:\n"
        f'  "1": {{pods: {{static: ["{address}"]}}}}\nstable: "1"\n'
    )


def _published_address(runtime_file: Path, process: Program) -> str:
    until_s = time.monotonic() + STARTS_WITHIN_S
    while not runtime_file.exists():
        process.must_run()
        if time.monotonic() > until_s:
            raise NotStarted(f"no {runtime_file.name} after {STARTS_WITHIN_S:g} s: {process.said()}")
        time.sleep(0.05)
    return str(json.loads(runtime_file.read_text())["inference"])


def _installed(program: str, package: str) -> str:
    # Debian keeps them in /usr/sbin, which is not on every user's PATH.
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Skipped(f"{program} is not installed (apt-get install {package})")
    return found


def new_key() -> str:
    """Return a key for one run."""
    return f"bench-{secrets.token_hex(24)}"
