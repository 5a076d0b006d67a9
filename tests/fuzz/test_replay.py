"""Every target against its seeds, what was once found, and damaged seeds; the same without atheris, in seconds."""

from __future__ import annotations

import random
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.__main__ import kept, target, targets

# Of the seeds, all of which are cases of the corpus with tests of their own.
_EVERY = 7


@cache
def seeds(name: str) -> list[bytes]:
    return list(target(name).seeds())


@pytest.mark.parametrize("name", targets())
def test_the_seeds_hold(name: str) -> None:
    for seed in seeds(name)[::_EVERY]:
        target(name).fuzz(seed)


@pytest.mark.parametrize("name", targets())
def test_what_was_once_found_is_mended(name: str) -> None:
    for path in kept(name):
        target(name).fuzz(path.read_bytes())


@pytest.mark.parametrize("name", targets())
@given(data=st.data())
def test_damaged_seeds_hold(name: str, data: st.DataObject) -> None:
    draw = random.Random(data.draw(st.integers(0, 2**32)))
    damaged = bytearray(draw.choice(seeds(name)) + draw.choice(seeds(name))[1:])
    for _ in range(draw.randrange(6)):
        at = draw.randrange(len(damaged))
        damaged[at : at + draw.randrange(3)] = draw.randbytes(draw.randrange(3))
    target(name).fuzz(bytes(damaged))
