"""What the gateway benchmark starts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from policies.load import load_directory
from tests.benchmarks.contenders import Cores, Skipped, StubAddress, nginx, started, write_policies


def test_the_proxy_has_a_core_to_itself_where_there_are_two() -> None:
    assert Cores.choose({4, 2}) == Cores(proxy=2, load=4, stub=4)
    assert Cores.choose({0, 1, 2, 3}) == Cores(proxy=0, load=1, stub=2)
    assert Cores.choose({0}) == Cores(proxy=0, load=0, stub=0)


def test_the_policies_of_the_benchmark_are_policies_that_load(tmp_path: Path) -> None:
    write_policies(tmp_path, StubAddress(9000, Path("/run/stub.sock")), "ab" * 32)
    snapshot = load_directory(tmp_path)
    addresses = [route.versions["1"].static for route in snapshot.routes.values()]
    assert {address for static in addresses if static for address in static.addresses} == {
        "127.0.0.1:9000",
        "unix:/run/stub.sock",
    }
    assert snapshot.tenants["bench"].keys[0].sha256 == "ab" * 32


def test_a_proxy_that_is_not_installed_is_skipped_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program, path=None: None)
    cores = Cores.choose(os.sched_getaffinity(0))
    with (
        pytest.raises(Skipped, match="nginx is not installed \\(apt-get install nginx-light\\)"),
        nginx(cores, StubAddress(9000, tmp_path / "stub.sock"), tmp_path),
    ):
        pass


@pytest.mark.system
def test_everything_started_is_ended(tmp_path: Path) -> None:
    with started(Cores.choose(os.sched_getaffinity(0)), "key", tmp_path) as found:
        pids = {contender.program.pid for contender in found.contenders if contender.program}
        assert found.contenders[0].name == "no proxy"
        assert found.broken == []
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
