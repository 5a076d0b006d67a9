"""What stands behind the proxies: nginx for those that speak HTTP/1.1, a stub that speaks the link for our gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import link_stub, stub
from tests.benchmarks.cores import Cores
from tests.benchmarks.processes import Program, await_answer, find_program, running
from tests.ports import free_port

READY_PATH = "/v2/health/ready"


@dataclass(frozen=True, slots=True)
class StubAddress:
    """Where a back end that speaks HTTP/1.1 listens."""

    port: int
    socket: Path


@contextmanager
def running_stub(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[Program]:
    """Start an HTTP back end in Python, which every machine has."""
    arguments = [sys.executable, str(Path(stub.__file__)), str(behind.socket), str(behind.port)]
    with running(arguments, cores={cores.stub}, log=folder / "stub.log") as program:
        await_answer(f"127.0.0.1:{behind.port}", READY_PATH, program)
        yield program


@contextmanager
def running_http(cores: Cores, folder: Path) -> Iterator[StubAddress]:
    """Start the fastest HTTP back end there is: an nginx that answers by itself, else the stub."""
    behind = StubAddress(free_port(), folder / "http.sock")
    nginx = find_program("nginx")
    if nginx is None:
        with running_stub(cores, behind, folder):
            yield behind
        return
    config = folder / "http.conf"
    config.write_text(_answering_nginx(behind, folder))
    arguments = [nginx, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    with running(arguments, cores={cores.stub}, log=folder / "http.log") as program:
        await_answer(f"127.0.0.1:{behind.port}", READY_PATH, program)
        yield behind


def _answering_nginx(behind: StubAddress, folder: Path) -> str:
    return f"""
{nginx_start(folder, "http")}
  keepalive_timeout 1h;
  client_max_body_size 0;
  default_type application/json;
  server {{
    listen 127.0.0.1:{behind.port} backlog=1024;
    listen unix:{behind.socket} backlog=1024;
    location / {{ return 200 '{stub.BODY.decode()}'; }}
    location = /penstock/pod {{ return 404; }}
  }}
}}
"""


def nginx_start(folder: Path, name: str) -> str:
    """Return how every configuration of ours begins: one worker, no logs, connections kept."""
    # Without `user`, workers of a root's nginx become nobody and may not enter the folder.
    user = "user root;" if os.geteuid() == 0 else ""
    places = "\n".join(
        f"  {kind}_temp_path {folder}/{name}-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""{user}
daemon off;
worker_processes 1;
pid {folder}/{name}.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
{places}"""


@contextmanager
def running_pods(cores: Cores, folder: Path, addresses: Sequence[str], kind: str = "json") -> Iterator[Program]:
    """Start what answers over the link at these addresses, as the gateway is told them, all in one process.

    Args:
        kind: ``json``, or ``grpc`` for answers that are messages.
    """
    places = [address.removeprefix("unix:") for address in addresses]
    arguments = [sys.executable, str(Path(link_stub.__file__)), kind, *places]
    with running(arguments, cores={cores.stub}, log=folder / f"pods-{kind}.log") as program:
        for address in addresses:
            await_answer(address, "/penstock/pod", program)
        yield program


def unix_pods(folder: Path, name: str, count: int) -> list[str]:
    """Return so many addresses of Unix sockets."""
    return [f"unix:{folder}/{name}-{number}.sock" for number in range(count)]


def tcp_pods(count: int) -> list[str]:
    """Return so many addresses on loopback that were free a moment ago."""
    return [f"127.0.0.1:{free_port()}" for _ in range(count)]
