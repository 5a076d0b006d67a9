"""The command of a mesh's hub: a token is asked for where others reach the pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.hub import hub_argv
from policies.snapshot.mesh import Listen

STATE = Path("/state")


@pytest.mark.parametrize(
    ("address", "has_token"),
    [("127.0.0.1:8090", False), ("[::1]:8090", False), ("localhost:8090", False), ("0.0.0.0:8090", True)],
)
def test_pages_that_others_reach_ask_for_a_token(address: str, has_token: bool) -> None:
    argv = hub_argv([Listen(address, "dashboards")], STATE, 3)
    assert argv is not None
    assert ("--token-file" in argv) is has_token
    assert argv.count("/state/hub-token") == int(has_token)


def test_without_an_address_for_pages_there_is_no_hub() -> None:
    assert hub_argv([Listen("127.0.0.1:4318", "otlp")], STATE, 3) is None
