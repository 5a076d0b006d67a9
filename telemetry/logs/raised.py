"""Raised: an exception as types and places, for a log that nothing of a request may reach.

An exception's text is whatever its code made of what it was given: a body, a header, a key. So it is left out, with its
notes and arguments, here and in every exception that led to it.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

MOST_EXCEPTIONS = 8
MOST_FRAMES = 64


def raised(error: BaseException) -> str:
    """Return a traceback that says of each exception its type alone; what led to it comes first."""
    told = list(_chain(error))
    return "\n\nand then\n\n".join(_one(one) for one in reversed(told))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    after: BaseException | None = error
    while after is not None and id(after) not in seen and len(seen) < MOST_EXCEPTIONS:
        seen.add(id(after))
        yield after
        after = after.__cause__ or (None if after.__suppress_context__ else after.__context__)


def _one(error: BaseException) -> str:
    frames = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), limit=-MOST_FRAMES)
    head = ["Traceback (most recent call last):\n", *frames.format()] if frames else []
    return f"{''.join(head)}{name_of(error)}"


def name_of(error: BaseException) -> str:
    """Return an exception's type, and of a group those of its parts."""
    name = type(error).__qualname__
    if not isinstance(error, BaseExceptionGroup):
        return name
    parts = ", ".join(type(one).__qualname__ for one in error.exceptions[:MOST_EXCEPTIONS])
    return f"{name} of {len(error.exceptions)}: {parts}"
