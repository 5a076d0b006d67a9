"""Secrets are read where policy says, and their text is told to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.control.secret_places import MAX_BYTES, SecretMissing, read_secret


def kept(tmp_path: Path, content: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return f"file:{path}"


def test_a_secret_is_the_line_of_a_file_or_of_a_variable(tmp_path: Path) -> None:
    assert read_secret(kept(tmp_path, b"Bearer abc\n", 0o640), {}) == "Bearer abc"
    assert read_secret("env:HOOK", {"HOOK": "https://h.example/x"}) == "https://h.example/x"


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"\n", 0o600, "holds no line of printable characters"),
        (b"hidden\r\nx-injected: 1", 0o600, "holds no line of printable characters"),
        (b"hidden", 0o604, "is a secret with mode 0604"),
        (b"h" * (MAX_BYTES + 1), 0o600, "is longer than 16 KiB"),
    ],
)
def test_what_cannot_be_used_is_said_without_what_it_is(tmp_path: Path, content: bytes, mode: int, why: str) -> None:
    with pytest.raises(SecretMissing, match=why) as missing:
        read_secret(kept(tmp_path, content, mode), {})
    assert "hidden" not in str(missing.value)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing, match="HOOK is not set"):
        read_secret("env:HOOK", {})
    with pytest.raises(SecretMissing, match="cannot be read: No such file"):
        read_secret(f"file:{tmp_path}/none", {})
