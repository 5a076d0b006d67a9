"""What a started mesh listens on is what its policy lists and it tells, all on loopback; what may not be is refused."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.hub import running_hub
from deploy.local.sidecars import TARGETS_FILE
from tests.demo_policies import lay_out_digits
from tests.system.listening import tcp_addresses, udp_sockets, unix_paths
from tests.system.mesh import SOON_S, MeshUnderTest, eventually, running_mesh
from tests.system.processes import of_session

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("listen"), model_store) as mesh:
        yield mesh


def test_every_tcp_address_is_one_that_is_told_and_on_loopback(mesh: MeshUnderTest) -> None:
    addresses = mesh.admin("status")["addresses"]
    eventually(lambda: running_hub(mesh.state), "the hub says where it listens")
    hub = running_hub(mesh.state)
    assert hub is not None
    known = {urlsplit(url).netloc for url in (hub.dashboards, hub.otlp, hub.otlp_grpc)}
    known |= {address for kind in addresses.values() for address in kind}
    # Each sidecar has a port of its own for Prometheus, which finds it in this file.
    targets = mesh.state / TARGETS_FILE

    def listed() -> set[str]:
        sidecars = json.loads(targets.read_bytes()) if targets.exists() else []
        return known | {target for one in sidecars for target in one["targets"]}

    # A sidecar that starts is listed a moment before or after it listens.
    with suppress(AssertionError):  # what differs says more
        eventually(lambda: tcp_addresses(of_session(mesh.session)) == listed() > known, "both are the same")
    listens = tcp_addresses(of_session(mesh.session))
    assert listens == listed()
    assert all(address.startswith("127.") for address in listens)
    assert udp_sockets(of_session(mesh.session)) == set()


def test_every_unix_socket_lies_where_only_its_owner_reaches_it(mesh: MeshUnderTest) -> None:
    paths = [Path(path) for path in unix_paths(of_session(mesh.session))]
    assert paths
    for path in paths:
        assert path.is_relative_to(mesh.state), path
        assert stat.S_IMODE(os.stat(path.parent).st_mode) & 0o077 == 0 or (
            stat.S_IMODE(os.stat(mesh.state).st_mode) & 0o077 == 0
        ), path


@pytest.mark.parametrize(
    ("serves", "why"),
    [
        ("inference", "API keys would cross a network in the clear"),
        ("admin", "the management API without TLS may listen on loopback only"),
    ],
)
def test_a_start_that_would_show_secrets_to_a_network_ends_with_the_reason(
    serves: str, why: str, tmp_path: Path
) -> None:
    policies = tmp_path / "policies"
    lay_out_digits(policies)
    mesh = policies / "mesh.yaml"
    text = mesh.read_text()
    here = f"127.0.0.1:0\n    serves: {serves}\n"
    assert text.count(here) == 1
    mesh.write_text(text.replace(here, here.replace("127.0.0.1", "0.0.0.0")))
    places = ("--policies", policies, "--state", tmp_path / "s", "--workers", "1")
    ended = subprocess.run(
        [Path(sys.executable).with_name("penstock"), "up", *places],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SOON_S,
        check=False,
    )
    assert ended.returncode != 0
    assert why in ended.stdout + ended.stderr
