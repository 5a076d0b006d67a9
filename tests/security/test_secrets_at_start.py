"""A start with a secret that is none is refused, or the secret is made anew; it never runs with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.control.admin.sign_in import SignIn
from gateway.control.callers import AdminCaller
from gateway.control.state_dir import StateRefused, admin_token, prepare
from gateway.decide.authorization import LOCAL
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh

TOKEN = "admin-token"


def kept(state_dir: Path, text: str, mode: int = 0o600) -> Path:
    path = state_dir / TOKEN
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", ["", " \n", "admin", "changeme", "x" * 31, " " * 64, "short\n" + " " * 64])
def test_an_empty_default_or_short_admin_token_stops_the_start(tmp_path: Path, text: str) -> None:
    kept(tmp_path, text)
    with pytest.raises(StateRefused, match="holds no admin token"):
        admin_token(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666, 0o620, 0o602, 0o611])
def test_an_admin_token_that_others_may_use_stops_the_start(tmp_path: Path, mode: int) -> None:
    kept(tmp_path, "t" * 43, mode)
    with pytest.raises(StateRefused, match="others can read the admin token"):
        admin_token(tmp_path)


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o720, 0o777])
def test_a_state_directory_in_which_others_may_write_stops_the_start(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(StateRefused, match="chmod 700"):
        prepare(tmp_path)


def test_a_made_token_has_256_bits(tmp_path: Path) -> None:
    tokens = set()
    for name in "abc":
        (tmp_path / name).mkdir()
        tokens.add(admin_token(tmp_path / name))
    assert len(tokens) == 3
    assert all(len(token) == 43 for token in tokens)


@pytest.mark.parametrize("shown", ["Bearer ", "Bearer  ", "Bearer", "bearer \t", ""])
def test_nothing_is_never_taken_for_the_admin_token(shown: str) -> None:
    for token in ("", " "):
        sign_in = SignIn(token, lambda: Snapshot(1, "d", Mesh("m")))
        with pytest.raises(Refused):
            assert sign_in.actor(AdminCaller("/admin/status", (("authorization", shown),))) is not LOCAL
