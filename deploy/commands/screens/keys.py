"""Decides which keys were pressed from what a terminal sent."""

from __future__ import annotations

from typing import Final

_SEQUENCES: Final = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1bOA": "up",
    b"\x1bOB": "down",
    b"\x1bOC": "right",
    b"\x1bOD": "left",
    b"\x1b[H": "home",
    b"\x1b[F": "end",
    b"\x1b[1~": "home",
    b"\x1b[4~": "end",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
}
_SINGLE: Final = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x03": "ctrl-c"}
_LONGEST = 8


def keys_of(sent: bytes) -> list[str]:
    """Return the keys, each as its character or its name; sequences that are not known are passed over."""
    keys: list[str] = []
    at = 0
    while at < len(sent):
        if sent[at : at + 1] == b"\x1b":
            key, at = _escaped(sent, at)
        else:
            end = _end_of_character(sent, at)
            text = sent[at:end].decode("utf-8", "replace")
            key, at = _SINGLE.get(text, text if text.isprintable() else ""), end
        if key:
            keys.append(key)
    return keys


def _escaped(sent: bytes, at: int) -> tuple[str, int]:
    """Return the key of a sequence and where it ends; Escape alone is a key too."""
    for sequence, key in _SEQUENCES.items():
        if sent.startswith(sequence, at):
            return key, at + len(sequence)
    if sent[at + 1 : at + 2] not in (b"[", b"O"):
        return "escape", at + 1
    end = at + 2
    while end < len(sent) and end - at < _LONGEST and not 0x40 <= sent[end] <= 0x7E:
        end += 1
    return "", end + 1


def _end_of_character(sent: bytes, at: int) -> int:
    """Return where a character of UTF-8 ends."""
    end = at + 1
    while end < len(sent) and sent[end] & 0xC0 == 0x80:
        end += 1
    return end
