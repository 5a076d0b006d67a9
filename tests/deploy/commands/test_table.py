"""Tables for people."""

from __future__ import annotations

from deploy.commands.table import table


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    assert table(("POD", "ROWS", "MESSAGE"), [("digits/1/0", 7, ""), ("d/2/0", None, "loading")]) == (
        "POD         ROWS  MESSAGE\n"
        "digits/1/0     7\n"
        "d/2/0          -  loading"
    )  # fmt: skip


def test_without_rows_the_head_stands_alone() -> None:
    assert table(("POD", "ROWS"), []) == "POD  ROWS"
