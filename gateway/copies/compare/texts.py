"""Texts: how many edits are between two of them, and how many of their first words are the same."""

from __future__ import annotations

from collections import defaultdict
from itertools import takewhile
from typing import Any

import msgspec

from gateway.copies.compare.leaves import leaves_of, misfit
from gateway.copies.compare.outcome import ALIKE, Outcome, above, unlike

# Of each text, by edits: two that have nothing in common take about 10 ms.
MAX_CHARACTERS = 4096
# Of all texts of a part that are not the same, together; beyond, they are "too large".
_MAX_ALL = 8 * MAX_CHARACTERS


def text(stable: Any, shadow: Any, allowed: float | None) -> Outcome:
    """Compare texts by the edits (insert, delete, replace a character) from one to the other; of several the largest.

    Unit: a share of the longer one's characters, 0 to 1. Default: differ above 0.0. Only the first 4,096 characters are
    compared so; if no more than what follows differs, that counts as one edit. A value that is no text is its JSON.
    Told beside it: the share of words that are the same from the start on, of several the least.
    """
    one, other = leaves_of(stable), leaves_of(shadow)
    misfitting = misfit(one, other)
    if misfitting is not None:
        return misfitting
    if one.elements == other.elements:
        return ALIKE._replace(words=1.0)
    pairs = list(zip(map(_text, one.elements), map(_text, other.elements), strict=True))
    if sum(min(MAX_CHARACTERS, max(len(left), len(right))) for left, right in pairs if left != right) > _MAX_ALL:
        return unlike("too large")
    shares = [_share(left, right) for left, right in pairs]
    largest = max(shares)
    distance = above(largest, 0.0 if allowed is None else allowed)
    where = one.place(shares.index(largest)) if distance > 1.0 else ""
    words = min(words_kept(left, right) for left, right in pairs)
    return Outcome(distance, largest, sum(shares) / len(shares), where, words=words)


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is bytes:
        return value.decode("latin-1")
    return msgspec.json.encode(value, order="deterministic").decode()


def _share(stable: str, shadow: str) -> float:
    """Return the edits as a share of the longer text, as far as both are compared."""
    if stable == shadow:
        return 0.0
    one, other = stable[:MAX_CHARACTERS], shadow[:MAX_CHARACTERS]
    start = _alike_from_the_start(one, other)
    return max(1, edits(one[start:], other[start:])) / max(len(one), len(other))


def _alike_from_the_start(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(one), len(other)))


def words_kept(stable: str, shadow: str) -> float:
    """Return the share of words, of the longer text, that are the same from the start on."""
    left, right = stable.split(), shadow.split()
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))
    return same / max(len(left), len(right), 1)


def edits(stable: str, shadow: str) -> int:
    """Return the Levenshtein distance.

    A column of the usual table is two integers of as many bits as ``stable`` has characters, so that a character of
    ``shadow`` costs a dozen operations on them.

    Source: Myers, "A fast bit-vector algorithm for approximate string matching", 1999, in Hyyrö's form of 2003.
    """
    if not stable:
        return len(shadow)
    places: dict[str, int] = defaultdict(int)
    for at, character in enumerate(stable):
        places[character] |= 1 << at
    every = (1 << len(stable)) - 1
    last = 1 << (len(stable) - 1)
    up, down, distance = every, 0, len(stable)
    for character in shadow:
        match = places.get(character, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right_up = down | ~(diagonal | up) & every
        right_down = diagonal & up
        distance += bool(right_up & last) - bool(right_down & last)
        right_up = (right_up << 1 | 1) & every
        right_down = (right_down << 1) & every
        up = right_down | ~(diagonal | right_up) & every
        down = right_up & diagonal
    return distance
