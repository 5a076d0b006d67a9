"""The local key."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deploy.local.key import FILE_NAME, is_key, local_key, new_key, sha256_hex


def test_a_new_key_has_the_documented_shape_and_is_new_each_time() -> None:
    key = new_key()
    scheme, public_id, secret, check = key.split("_")
    assert (scheme, len(public_id), len(secret), len(check)) == ("msk", 12, 43, 6)
    assert is_key(key)
    assert new_key() != key


def test_a_typo_is_found_by_the_checksum() -> None:
    key = new_key()
    wrong = "A" if key[30] != "A" else "B"
    assert not is_key(key[:30] + wrong + key[31:])


def test_the_key_of_a_state_directory_stays_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    key = local_key(tmp_path)
    assert local_key(tmp_path) == key
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_a_key_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    key = local_key(tmp_path)
    (tmp_path / FILE_NAME).chmod(0o644)
    assert local_key(tmp_path) != key


def test_a_damaged_key_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("msk_half")
    (tmp_path / FILE_NAME).chmod(0o600)
    assert is_key(local_key(tmp_path))


def test_the_gateway_gets_the_digest_of_the_whole_key() -> None:
    assert sha256_hex("msk_a") == hashlib.sha256(b"msk_a").hexdigest()
