"""The local key."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local_key import FILE_NAME, local_key, new_key
from gateway.decide.api_keys import is_key


def test_a_new_key_has_the_documented_shape_and_is_new_each_time() -> None:
    key = new_key()
    scheme, public_id, secret, check = key.split("_")
    assert (scheme, len(public_id), len(secret), len(check)) == ("msk", 12, 43, 6)
    assert is_key(key)
    assert new_key() != key


def test_the_key_of_a_state_directory_stays_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    key = local_key(tmp_path)
    assert local_key(tmp_path) == key
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o602, 0o604, 0o666])
def test_a_key_file_that_group_or_others_may_use_is_replaced_and_private_again(tmp_path: Path, mode: int) -> None:
    key = local_key(tmp_path)
    (tmp_path / FILE_NAME).chmod(mode)
    assert local_key(tmp_path) != key
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kept", ["", "changeme", "msk_", "0" * 67, "msk_abcdefghij23_" + "0" * 43 + "_000000"])
def test_a_default_or_short_key_is_replaced(tmp_path: Path, kept: str) -> None:
    (tmp_path / FILE_NAME).write_text(kept)
    (tmp_path / FILE_NAME).chmod(0o600)
    assert is_key(local_key(tmp_path))
