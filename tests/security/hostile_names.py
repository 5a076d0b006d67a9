"""Names as somebody makes them up who wants a metric's page to grow, to break, or to say something else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

COUNT = int(os.environ.get("PENSTOCK_HOSTILE_NAMES", "5000"))
_LONG = 64 * 2**10
_LONG_EVERY = 1000
# Each makes another name of a number; the shapes are what parsers, pages and terminals have tripped over.
_SHAPES = (
    "model-{0}",
    "m{0}\n# TYPE forged counter\nforged_total 1",
    'm{0}",tenant="admin',
    "m{0}\\",
    'm{0}{{le="+Inf"}} 1',
    "m{0}\r\nset-cookie: a=b",
    "m{0}\x00\x1b[2J\x07",
    "\u202em{0}\u2066",  # writes backwards from here on
    "m\u200b{0}\ufeff",  # nothing to be seen
    "\u0441\u043e\u0440\u0443{0}",  # looks like "copy"
    "\uff4d{0}",  # wide letters
    "e\u0301{0}",  # and the same letter in two ways
    "\u00e9{0}",
    "\U0001f600{0}",
    "m{0}/../../etc",
    "%00{0}%0a",
    "${{jndi:{0}}}",
    "<script>{0}</script>",
    "'; drop table spans; --{0}",
    "nan{0}",
    "other {0}",
    "\ud800{0}",  # half of a pair, which no UTF-8 has
    "",
)


def names(count: int = COUNT, *, is_utf8: bool = False) -> Iterator[str]:
    """Yield so many names, no two alike but for the empty one.

    Args:
        is_utf8: halves of surrogate pairs stand as question marks, as whatever sends UTF-8 has to write them.
    """
    for number in range(count):
        name = _SHAPES[number % len(_SHAPES)].format(number)
        if number % _LONG_EVERY == _LONG_EVERY - 1:
            name += "x" * (_LONG - len(name))
        yield name.encode("utf-8", "replace").decode() if is_utf8 else name


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
