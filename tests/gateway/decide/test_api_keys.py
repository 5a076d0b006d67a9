"""The shape of API keys, and what stands for one."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide import api_keys
from gateway.decide.api_keys import BASE62, MAX_KEY_CHARS, blocks_of, checksum, digest_of, is_key, key_of, sha256_hex

KEY = key_of("abcdefghij23", "0" * 43)


@given(st.text(api_keys.BASE32, min_size=12, max_size=12), st.text(BASE62, min_size=43, max_size=43))
def test_every_key_that_is_made_has_the_documented_shape(public_id: str, secret: str) -> None:
    key = key_of(public_id, secret)
    scheme, its_id, its_secret, check = key.split("_")
    assert (scheme, its_id, its_secret, len(check)) == ("msk", public_id, secret, 6)
    assert is_key(key)


@given(st.integers(4, len(KEY) - 8), st.sampled_from(BASE62))
def test_one_wrong_character_is_found_by_the_checksum(at: int, character: str) -> None:
    typo = KEY[:at] + character + KEY[at + 1 :]
    assert is_key(typo) == (typo == KEY)


@pytest.mark.parametrize(
    "text", ["", "msk_", KEY[:-1], KEY + "0", KEY.upper(), f" {KEY}", KEY.replace("_", "-"), "msk_a_b"]
)
def test_another_shape_is_no_key_of_ours(text: str) -> None:
    assert not is_key(text)


def test_the_checksum_is_that_of_the_documentation() -> None:
    assert (checksum(""), checksum("a")) == ("000000", "4GEHKN")
    assert KEY == "msk_abcdefghij23_" + "0" * 43 + "_4YCfyi"


@given(st.binary(max_size=MAX_KEY_CHARS))
def test_a_key_of_any_shape_stands_for_its_sha256(key: bytes) -> None:
    assert digest_of(key) == hashlib.sha256(key).digest()


@pytest.mark.parametrize(("length", "blocks"), [(0, 1), (55, 1), (56, 2), (67, 2), (119, 2), (120, 3), (512, 9)])
def test_blocks_are_counted_with_the_end_that_each_text_has(length: int, blocks: int) -> None:
    assert blocks_of(length) == blocks


def test_policy_keeps_the_same_digest_in_hex() -> None:
    assert sha256_hex(KEY) == digest_of(KEY.encode()).hex()


@given(st.binary(max_size=MAX_KEY_CHARS))
def test_as_many_blocks_are_hashed_whatever_is_shown(key: bytes) -> None:
    hashed: list[int] = []
    true_sha256 = hashlib.sha256

    def counting(data: bytes) -> object:
        hashed.append(blocks_of(len(data)))
        return true_sha256(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "sha256", counting)
        digest_of(key)
    assert sum(hashed) == blocks_of(MAX_KEY_CHARS) + 1
    assert len(hashed) == 2
