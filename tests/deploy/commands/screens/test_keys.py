"""What a terminal sends, as keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.commands.screens.keys import keys_of


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        (b"jq", ["j", "q"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\r\x7f\x03", ["enter", "backspace", "ctrl-c"]),
        (b"\x1b", ["escape"]),
        (b"\x1bx", ["escape", "x"]),
        (b"\x1b[5~\x1b[6~\x1b[H\x1b[F", ["page-up", "page-down", "home", "end"]),
        (b"\x1b[1;5Cx", ["x"]),
        ("é/".encode(), ["é", "/"]),
        (b"\x00\x07", []),
    ],
)
def test_keys_have_names(sent: bytes, keys: list[str]) -> None:
    assert keys_of(sent) == keys


@given(st.binary(max_size=40))
def test_whatever_is_sent_becomes_keys_that_can_be_shown(sent: bytes) -> None:
    assert all(key.isprintable() for key in keys_of(sent))
