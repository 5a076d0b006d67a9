"""Lays rows out as a table for people, and takes out of a text what a terminal would obey."""

from __future__ import annotations

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return lines with aligned columns; numbers to the right, everything else to the left, None as a dash."""
    texts = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in [list(head), *texts]) for at in range(len(head))]
    to_the_right = [
        bool(rows) and all(isinstance(row[at], int | float | None) for row in rows) for at in range(len(head))
    ]
    lines = []
    for row in [list(head), *texts]:
        cells = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, to_the_right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def printable(text: str) -> str:
    """Return what a terminal shows and does not obey: reasons, messages and answers are other people's words."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
